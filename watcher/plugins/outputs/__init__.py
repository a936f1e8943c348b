"""Where results go besides the database."""
