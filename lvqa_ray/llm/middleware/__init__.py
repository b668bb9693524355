"""Client middleware between a stage and the transport: cache, retry, rate limit, budget."""
