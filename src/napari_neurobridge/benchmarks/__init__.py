"""What ``neurobridge benchmark NAME`` runs."""
