"""The vendor's protocol: RunVideoAnalysis and the tasks, with the names and paths of its client SDK."""
