"""The output: shards, reader, outcomes, resume, verify, statistics."""
