"""Checks before a run: endpoints, output, estimate, dry run, doctor."""
