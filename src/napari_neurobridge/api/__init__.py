"""The public face: what a notebook or a script calls, each the same as a command does."""
