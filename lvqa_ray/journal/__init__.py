"""The cache of paid answers: append-only segments, index, costs, maintenance."""
