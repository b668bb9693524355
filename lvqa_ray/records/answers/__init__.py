"""Keys of questions without options."""
