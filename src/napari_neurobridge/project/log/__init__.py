"""The event log: what people and detectors decided, and what follows from it."""
