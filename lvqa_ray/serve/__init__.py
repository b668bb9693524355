"""The service: requests over HTTP -> analyses of videos -> events as they come. Knows nothing of Ray."""
