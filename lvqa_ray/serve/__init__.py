"""HTTP service: requests -> analyses of videos -> server-sent events. Does not import Ray."""
