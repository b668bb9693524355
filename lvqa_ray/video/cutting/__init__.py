"""Cutting clip files: stream copy, smart cut, re-encoding."""
