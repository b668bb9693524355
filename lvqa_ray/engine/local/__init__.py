"""Runs the pipeline in one process, for a single video."""
