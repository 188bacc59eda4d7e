"""Find somata in volumes and planes."""
