"""Models that a run serves on its own Ray: servers under supervision, one address, and an end with the run."""
