"""Audio and speech: PCM for recognisers, splitting at silence, Whisper, subtitles."""
