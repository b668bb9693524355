"""Start, health and end of the Ray that a run uses; processes without a terminal."""
