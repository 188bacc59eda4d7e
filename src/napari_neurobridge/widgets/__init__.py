"""The docks. Widgets take a workbench, show its state and call its methods."""
