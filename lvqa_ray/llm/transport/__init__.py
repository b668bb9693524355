"""HTTP transport to endpoints: chat completions, transcriptions, their errors."""
