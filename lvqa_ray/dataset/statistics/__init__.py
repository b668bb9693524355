"""Statistics of an output: question counts, audit, significance."""
