"""The run in one process, for a single video."""
