"""Pipeline stages, one file each: a frozen dataclass that is its own configuration, with its prompt at the end."""
