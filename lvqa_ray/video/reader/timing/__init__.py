"""Time stamps and durations of video files: clocks that jump, stated lengths, completeness."""
