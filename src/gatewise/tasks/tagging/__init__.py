"""What scores tags and spans."""
