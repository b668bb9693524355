"""Sampled frames: selection, scaling, JPEG encoding, contact sheets."""
