"""Tables in, one file out."""
