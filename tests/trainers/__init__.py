"""Checks of the export formats with the trainers' own code: `make trainers`."""
