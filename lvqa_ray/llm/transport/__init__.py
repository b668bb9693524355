"""HTTP transport to endpoints: chat completions, transcriptions, and the mapping of their errors."""
