"""The run on Ray Data: graph, actors, tasks, data sink. The only package that imports Ray."""
