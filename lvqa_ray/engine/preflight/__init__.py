"""Preflight checks of a run: endpoints, output, estimate, dry run, doctor."""
