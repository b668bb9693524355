"""Tasks about a whole video: summary, titles, mind map."""
