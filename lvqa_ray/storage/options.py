"""Object store options: the S3 endpoint and credentials, read by the driver and passed to every worker.

s3fs serves input and output: one set of credentials, botocore's rules for them, conditional writes, and the same calls
for gs:// and az:// through fsspec, which are not tested here. pyarrow.fs reads columns in parallel, but would add a
second way to name keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from lvqa_ray.errors import ConfigError
from lvqa_ray.records import STORES
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.storage.http_session import check_variables, session, store_proxies
from lvqa_ray.storage.ssrf import SsrfGuard

if TYPE_CHECKING:  # not loaded by jobs with local files only
    from aiobotocore.session import AioSession
    from fsspec import AbstractFileSystem

SCHEMES = (*STORES, "http", "https")
FROM_FILES = ("shared-credentials-file", "config-file")
"""botocore's credential methods that yield plain keys, which can be passed to workers."""
STORE_CONNECT_S, STORE_READ_S = 30, 60


def is_store(uri: str) -> bool:
    """Whether a URI names an object store."""
    return scheme_of(uri) in STORES


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """Object store options, with secrets hidden from ``repr``. Unset fields follow botocore's rules.

    Attributes:
        endpoint_url: URL of an S3 server other than AWS.
        region: Region of the bucket.
        path_style: Whether the bucket is a part of the path; ``None`` lets botocore decide.
        anonymous: Send unsigned requests.
        profile: A profile of the AWS configuration on every node.
        key: Access key, with its secret and its session token.
        guard: SSRF check for http(s)://; ``None`` allows every address.
        request_s: Maximum time of one request to http(s):// (s); ``None`` limits only its silence.
        stopped: Returns true when the files are no longer needed: no further request is sent for them.
    """

    endpoint_url: str | None = None
    region: str | None = None
    path_style: bool | None = None
    anonymous: bool = False
    profile: str | None = None
    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    guard: SsrfGuard | None = None
    request_s: float | None = None
    stopped: Callable[[], bool] = bool  # never stopped

    @classmethod
    def of(
        cls,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        path_style: bool | None = None,
        anonymous: bool = False,
        profile: str | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Self:
        """Options from the arguments, then from the environment of this process, which may differ on workers.

        The keys of a profile are included; a profile with other credentials must exist on the workers too.

        Raises:
            ConfigError: There is no such profile here.
        """
        key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY"), environ.get("AWS_SESSION_TOKEN")
        named = profile or environ.get("AWS_PROFILE")
        if profile or (named and not key[0]):
            try:
                key = _keys_of(named)
            except ConfigError:
                if profile:
                    raise  # a missing profile of the environment fails at the first request instead
            named = None if key[0] else named
        else:
            named = None
        return cls(
            endpoint_url or environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
            region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
            path_style,
            anonymous,
            named,
            *((None, None, None) if anonymous else key),
        )

    @classmethod
    def here(cls) -> Self:
        """Options from the environment of this process."""
        return cls.of()

    def check(self, uri: str) -> None:
        """Validate the proxy and certificate variables that apply to an address.

        Raises:
            FetchError: A variable is unusable; the message names it.
        """
        scheme = scheme_of(uri)
        if scheme in ("http", "https") and not self.guard:
            check_variables(uri)
        elif scheme == "s3":
            self._proxies()

    def _proxies(self) -> dict[str, str]:
        return store_proxies(self.endpoint_url or f"https://s3.{self.region or 'us-east-1'}.amazonaws.com")

    def filesystem(self, uri: str) -> AbstractFileSystem:
        """The fsspec file system of an address.

        Raises:
            ImportError: A package that fsspec needs for the scheme is not installed.
        """
        import fsspec  # noqa: PLC0415 - not loaded by jobs with local files only

        scheme = scheme_of(uri)
        if scheme in ("http", "https"):
            import aiohttp  # noqa: PLC0415 - as above

            self.check(uri)
            timeout = aiohttp.ClientTimeout(total=self.request_s, sock_connect=STORE_CONNECT_S, sock_read=STORE_READ_S)
            # `encoded`: a signature covers the address as it was given.
            return fsspec.filesystem(
                "http",
                encoded=True,
                client_kwargs={"timeout": timeout},
                use_listings_cache=False,
                get_client=self.guard.client if self.guard else session,
            )
        if scheme != "s3":
            return fsspec.filesystem(scheme, use_listings_cache=False)
        from lvqa_ray.storage.opaque_s3 import OpaqueS3  # noqa: PLC0415 - as above

        style = {None: "auto", True: "path", False: "virtual"}[self.path_style]
        return OpaqueS3(
            session=_session(self.profile, os.getpid()),
            use_listings_cache=False,
            anon=self.anonymous,
            endpoint_url=self.endpoint_url,
            key=self.key,
            secret=self.secret,
            token=self.token,
            client_kwargs={"region_name": self.region} if self.region else {},
            config_kwargs={
                "connect_timeout": STORE_CONNECT_S,
                "read_timeout": STORE_READ_S,
                "s3": {"addressing_style": style},
                "proxies": self._proxies(),
                "retries": {"mode": "standard", "total_max_attempts": 2},  # s3fs and `again` have their own
            },
        )


@lru_cache
def _session(profile: str | None, _pid: int) -> AioSession:
    """A botocore session with a fast timestamp parser: botocore's takes 130 us for each object of a listing."""
    from aiobotocore.session import AioSession  # noqa: PLC0415 - as above

    session = AioSession(profile=profile)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time_of)
    return session


def _time_of(written: str | float) -> datetime:
    """Parse a time of S3: ISO 8601 in listings; other forms are left to botocore."""
    try:
        found = datetime.fromisoformat(written) if isinstance(written, str) and written[4:5] == "-" else None
    except ValueError:
        found = None
    if found is not None:
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    from botocore.utils import parse_timestamp  # noqa: PLC0415 - as above

    other: datetime = parse_timestamp(written)
    return other


def _keys_of(profile: str | None) -> tuple[str | None, str | None, str | None]:
    """The keys of a profile; none if its credentials come from another source."""
    import botocore.exceptions  # noqa: PLC0415 - slow to import, and rarely needed
    import botocore.session  # noqa: PLC0415

    try:
        found = botocore.session.Session(profile=profile).get_credentials()
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(f"storage.profile: {error}.") from None
    if found is None or found.method not in FROM_FILES:
        return None, None, None
    return found.access_key, found.secret_key, found.token
