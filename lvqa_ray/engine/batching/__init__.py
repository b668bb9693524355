"""File batches of a run: the runner that uploads, polls and records them, and control without a run."""
