"""Reading a video file: container, probe, time stamps, seeking, decode losses."""
