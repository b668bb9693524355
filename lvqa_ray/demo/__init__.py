"""A loopback endpoint that needs no key, and the sample film, so that the whole job can be tried for nothing."""
