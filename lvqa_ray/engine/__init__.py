"""The only room that knows Ray: the graph, its actors, its source and sink, and resume."""
