"""What the check sends."""
