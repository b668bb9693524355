"""Client of OpenAI-compatible endpoints: pure asyncio, from a request to a paid answer or one error.

A request passes the layers of `middleware.client`: cache, leader-first, retry, rate limit, budget, transport. The
transport sends it once and maps each failure to a class of `errors` (`transport.error_mapping`); `error_policy` defines
the reaction.

**429, 503, 529 or a timeout.** A timeout is no whole reply within ``timeout_s`` (1800 s), or no connection within 30 s.
Each of them has these effects (downloads have their own retries, `storage.retries`):

1. The request (`middleware.retry`) waits as long as Retry-After says, and on top of it a random time of up to 0.5 s
   (``backoff_base_s``), which doubles with each failure of the same kind, up to 60 s (``backoff_cap_s``). It is sent
   6 times at most (``max_attempts``). A Retry-After of more than 300 s ends it at once; a later run sends it again.
2. All requests with the same URL, key and model (`ratelimit.limiter`) wait as long as Retry-After or the rate-limit
   headers say, 300 s at most. Without such a header they do not wait.
3. The number in flight (`ratelimit.adaptive_concurrency`) falls, by up to a half and once a round trip, when more than
   20 % of about the last 64 requests were refused. It rises again by 1 for each round of replies.
4. The circuit breaker (`ratelimit.circuit_breaker`) opens after 5 failures in a row, of any requests (after fewer if
   ``max_attempts`` is below 6). Then one request at a time goes out as a probe, after 1, 2, 4 and at most 30 s; any
   answer closes it. An attempt that fails while it is open skips effect 1: the request waits for its turn as a probe,
   and up to 8 such attempts do not count. After 900 s (``max_outage_s``) the run stops; the same command resumes it.

**Other 5xx, or a lost connection.** Effects 1 and 4; the number in flight stays.

**A truncated reply** (``finish_reason: length``). It is paid for and stays in the cache. With ``max_tokens`` set, the
request is sent once more, at once, with 2 times the tokens (`middleware.truncation`); where that reply is cut off too,
or no limit was set, the clip or question fails, and later runs do not pay for it again.

**The prompt cache of an endpoint.** Of the requests that share the captions of a video, the first goes alone and the
others follow when it has its reply (`middleware.leader`), where the endpoint's cache saves money.

**Money.** A 429 that reports a spent quota, a 401 or a 404 stops the run: no other request can succeed either.
"""
