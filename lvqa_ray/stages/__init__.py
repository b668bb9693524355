"""One stage a file: a frozen dataclass that is its own configuration, with its prompt at the foot."""
