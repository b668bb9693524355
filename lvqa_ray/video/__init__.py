"""Paths and numbers in, values out: probing, splitting, cutting and sampling. Knows no Ray, no endpoint, no config."""
