"""HTTP session for videos and manifests, with the same proxy and certificate variables as endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.llm.transport.certificates import check_store_certificates, own_certificates
from lvqa_ray.llm.transport.proxies import Proxy, proxy_for

if TYPE_CHECKING:  # not loaded by jobs with local files only
    import aiohttp
    from aiohttp.client_middlewares import ClientHandlerType


def check_variables(uri: str) -> None:
    """Validate the proxy and certificate variables that apply to an address.

    Raises:
        FetchError: A variable is unusable; the message names it.
    """
    try:
        proxy_for(uri)
        own_certificates()
    except ConfigError as error:
        raise _unusable(error) from None


def store_proxies(url: str) -> dict[str, str]:
    """The proxy of an object store by scheme, as botocore takes it; empty for a direct connection.

    Args:
        url: URL of the store.

    Raises:
        FetchError: A proxy or certificate variable cannot be used.
    """
    try:
        check_store_certificates()
        proxy = proxy_for(url)
    except ConfigError as error:
        raise _unusable(error) from None
    return {"http": proxy.url, "https": proxy.url} if proxy else {}


def _unusable(error: ConfigError) -> FetchError:
    message = str(error)
    return FetchError("forbidden", message[:1].upper() + message[1:], retryable=True)


async def session(**options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - passed on to aiohttp
    """An aiohttp session whose requests and redirects use the proxy of the environment."""
    import aiohttp  # noqa: PLC0415 - as above

    connector = aiohttp.TCPConnector(ssl=own_certificates() or True)
    return aiohttp.ClientSession(connector=connector, trust_env=False, middlewares=(_through_proxy,), **options)


async def _through_proxy(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
    """Client middleware that sends a request through its proxy; aiohttp runs it again for every redirect."""
    import aiohttp  # noqa: PLC0415 - as above
    from yarl import URL  # noqa: PLC0415

    proxy = proxy_for(str(request.url))
    if proxy is None:
        return await handler(request)
    address = URL(proxy.url)
    auth = aiohttp.BasicAuth(address.user or "", address.password or "") if address.user else None
    request.update_proxy(address.with_user(None), auth, None)
    try:
        answer = await handler(request)
    except aiohttp.ClientHttpProxyError as error:
        raise refused_by(proxy, error.status) from None
    except aiohttp.ClientProxyConnectionError:
        raise FetchError(
            "not_fetched", f"The proxy that {proxy.variable} names cannot be reached; correct it.", retryable=True
        ) from None
    if answer.status == 407:
        answer.close()
        raise refused_by(proxy, 407)
    return answer


def refused_by(proxy: Proxy, status: int) -> FetchError:
    """The error for a proxy that refuses a request with this HTTP status."""
    if status == 407:
        remedy = f"asks for a user name and a password: set {proxy.variable} to http://USER:PASSWORD@HOST:PORT"
        return FetchError("forbidden", f"The proxy that {proxy.variable} names {remedy}.", retryable=True)
    return FetchError(
        "not_fetched", f"The proxy that {proxy.variable} names does not connect (status {status}).", retryable=True
    )
