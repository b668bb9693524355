"""Terminal output: panel, tables, visible control characters."""
