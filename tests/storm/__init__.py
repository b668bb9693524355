"""Runs that are killed at will. `make storm` runs all of it; `make test` only `test_stop`."""
