"""Time series of active neurons."""
