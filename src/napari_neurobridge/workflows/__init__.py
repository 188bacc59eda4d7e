"""What the command line, the plugin and a notebook do alike, without Qt or signals."""
