"""What people see: the live table, log lines, and the words and figures in them."""
