"""What an answer must be like."""
