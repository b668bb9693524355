"""Video processing: probing, splitting, cutting and sampling. Independent of Ray, of endpoints and of the config."""
