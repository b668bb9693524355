"""HTTP client of an endpoint: proxies and certificates from the environment, and redirects."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

import aiohttp
import httpx2

from lvqa_ray.errors import ApiError, ConfigError, EndpointDown, NotFound
from lvqa_ray.lazy_package import register
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.transport.certificates import own_certificates
from lvqa_ray.llm.transport.proxies import proxy_for
from lvqa_ray.llm.transport.proxy_faults import AUTH_REQUIRED, of_proxy, wants_password

PATHS = ("/chat/completions", "/audio/transcriptions", "/models")
SAME_METHOD = (307, 308)
"""Redirects that keep method and body; followed once."""
CLIENT_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, OSError, TimeoutError)

TIMEOUT = httpx2.Timeout(600, connect=5)
"""The SDK's default, for requests without their own."""
LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
"""The SDK's default."""
ORGANIZATION, PROJECT = "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"
"""Environment variables that the SDK reads."""


def _client_of_sdk() -> Any:  # noqa: ANN401 - a class that mypy does not see
    """The SDK's HTTP client on aiohttp, if possible without importing the SDK's `__init__`.

    That import loads the types of the whole API, which takes half a CPU second in each process.
    """
    register("openai")
    try:
        from openai._vendor.httpx_aiohttp import Httpx2AiohttpClient  # noqa: PLC0415 - after the registration
    except ImportError:  # another SDK release has it elsewhere
        import openai  # noqa: PLC0415 - as above

        return openai.DefaultAioHttpClient
    return Httpx2AiohttpClient


class Connection:
    """HTTP connections to one endpoint, through the proxy that the environment sets for it.

    Args:
        endpoint: The endpoint.

    Attributes:
        client: The SDK's client.
        moved_to: The base URL to which the endpoint redirects requests; empty if it does not.

    Raises:
        EndpointDown: A proxy or certificate variable of this process is invalid.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.moved_to = ""
        plain = endpoint.is_served or (endpoint.is_loopback and endpoint.base_url.startswith("http:"))
        broken: ApiError | None = None
        try:
            self._proxy = None if endpoint.is_served else proxy_for(endpoint.base_url)
            verify = None if plain else own_certificates()
        except ConfigError as error:
            broken = EndpointDown(f"{endpoint.label}: {error}")
        if broken is not None:
            raise broken
        # aiohttp takes half the CPU of the SDK's default. Our own modules read the environment. Redirects are handled
        # in `send`: with 301, 302 and 303 the request would lose its body.
        self.client: httpx2.AsyncClient = _client_of_sdk()(
            timeout=TIMEOUT,
            limits=LIMITS,
            trust_env=False,
            verify=verify or True,
            proxy=self._proxy.url if self._proxy else None,
            follow_redirects=False,
        )

    async def send(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
        """Send a request once.

        Args:
            request: The request.
            stream: Leave the body of the reply unread; the caller must close it.

        Raises:
            ApiError: A proxy refused the request, or a redirect would lose its body.
            httpx2.HTTPError: There was no reply; or another error of `CLIENT_ERRORS`.
        """
        fault: ApiError | None = None
        try:
            answer = await self.client.send(request, stream=stream)
            if answer.status_code in SAME_METHOD and answer.next_request is not None:
                await answer.aclose()
                self.moved_to = self._base_of(answer.next_request.url)
                answer = await self.client.send(answer.next_request, stream=stream)
        except CLIENT_ERRORS as exc:
            fault = of_proxy(exc, self._proxy.variable) if self._proxy else None
            if fault is None:
                raise
        if fault is None and self._proxy and answer.status_code == AUTH_REQUIRED:
            fault = wants_password(self._proxy.variable)
        if fault is None and answer.next_request is not None:
            fault = self._redirect_error(answer.next_request.url)
        if fault is not None:
            raise fault  # outside of `except`, so that it does not hold the client's exception with the whole request
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self.client.aclose()

    @staticmethod
    def headers(api_key: str) -> list[tuple[str, str]]:
        """The SDK's HTTP headers, without its telemetry.

        Args:
            api_key: The key; empty for none.
        """
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"AsyncOpenAI/Python {version('openai')}",
            "OpenAI-Organization": os.environ.get(ORGANIZATION),
            "OpenAI-Project": os.environ.get(PROJECT),
            "Authorization": f"Bearer {api_key}" if api_key else None,
        }
        return [(name, value) for name, value in headers.items() if value is not None]

    def _redirect_error(self, url: httpx2.URL) -> ApiError:
        """The error for a redirect that would drop the request's body."""
        advice = "set base_url to that" if url.path.rstrip("/").endswith(PATHS) else "correct base_url"
        return NotFound(f"{self._endpoint.base_url} redirects requests to {self._base_of(url)}: {advice}.")

    def _base_of(self, url: httpx2.URL) -> str:
        """The base URL of a redirect's target."""
        plain = str(url.copy_with(query=None, fragment=None)).rstrip("/")
        return next((plain.removesuffix(path) for path in PATHS if plain.endswith(path)), plain)
