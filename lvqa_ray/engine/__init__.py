"""Executes the pipeline: `ray` on a cluster, `local` in one process; `decoding` and `preflight` serve both."""
