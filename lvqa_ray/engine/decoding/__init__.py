"""Decoder processes: supervision, worker, pool."""
