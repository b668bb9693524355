"""The demo: an endpoint on this machine that needs no key, and the sample film, to try the whole job for nothing."""
