"""Pure asyncio: what is said to an endpoint, how its replies are read, and what happens when it does not answer."""
