"""Ways in: vendors' protocols and files."""
