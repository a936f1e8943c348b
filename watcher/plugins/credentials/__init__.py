"""Who the check says it is."""
