"""Demo: a local endpoint without a key, and a sample video, to try the whole pipeline for free."""
