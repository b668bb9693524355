"""Reading of video files: container, probe, timestamps, seeking, decode losses."""
