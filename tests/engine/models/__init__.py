"""Models that a run serves: real Ray, real server processes, real kills."""
