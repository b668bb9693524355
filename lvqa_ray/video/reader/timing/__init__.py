"""Timestamps and durations of video files: discontinuities, stated lengths, completeness."""
