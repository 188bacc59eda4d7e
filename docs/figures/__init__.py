"""Pictures of the simulation page, one module for each kind."""
