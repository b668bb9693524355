"""Scene detection and the clips that scenes are divided into."""
