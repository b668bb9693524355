"""Rate limiting per endpoint: requests, tokens, concurrency, circuit breaker, leases."""
