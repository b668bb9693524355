"""Text of questions: formats, parsing, answer letters, rewording, rubrics."""
