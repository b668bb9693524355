"""The cache of paid replies: append-only segments, index, costs, maintenance."""
