"""How object stores are reached: S3's endpoint and credentials, which the driver knows and every worker is handed.

s3fs does all of it, for input and output alike: one set of credentials, botocore's own rules for them, conditional
writes, and the same calls for gs:// and az:// through fsspec, which are not tested here. What pyarrow.fs does better,
reading columns in parallel, does not weigh up a second way to name keys.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from lvqa_ray.errors import ConfigError
from lvqa_ray.records import STORES
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.storage.http_session import check_variables, session, store_proxies
from lvqa_ray.storage.ssrf import SsrfGuard

SCHEMES = (*STORES, "http", "https")
FROM_FILES = ("shared-credentials-file", "config-file")
"""Credentials of a profile that are nothing but keys."""
CONNECT_S, READ_S = 30, 60


def is_store(uri: str) -> bool:
    """Whether an address is that of an object store."""
    return scheme_of(uri) in STORES


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """A way to object stores; its secrets show in no text. Without anything, botocore's own rules hold.

    Attributes:
        endpoint_url: Of a server that is not AWS.
        region: Its region.
        path_style: Whether the bucket is a part of the path; ``None`` for what botocore finds right.
        anonymous: Sign nothing.
        profile: A profile of the AWS configuration that every node has.
        key: Access key, with its secret and its session token.
        guard: Where http(s):// may lead; anywhere, if there is none.
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
        """What is given and, for the rest, what the environment of this process says: workers may have another one.

        A profile's keys are taken along; one that has its credentials from elsewhere has to be known to the workers.

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
                    raise  # one that only the environment names is missed where a store is asked
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
        """What the environment of this process says."""
        return cls.of()

    def check(self, uri: str) -> None:
        """Refuse proxy and certificate variables of the environment that could not be used for an address.

        Raises:
            FetchError: Names the variable.
        """
        scheme = scheme_of(uri)
        if scheme in ("http", "https") and not self.guard:
            check_variables(uri)
        elif scheme == "s3":
            self._proxies()

    def _proxies(self) -> dict[str, str]:
        return store_proxies(self.endpoint_url or f"https://s3.{self.region or 'us-east-1'}.amazonaws.com")

    def filesystem(self, uri: str) -> Any:  # noqa: ANN401 - fsspec has no types
        """The file system that an address belongs to.

        Raises:
            ImportError: What fsspec needs for it is not installed.
        """
        import fsspec  # noqa: PLC0415 - who has all on a disk need not load it

        scheme = scheme_of(uri)
        if scheme in ("http", "https"):
            import aiohttp  # noqa: PLC0415 - as above

            self.check(uri)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=READ_S)
            # `encoded`: a signature is over the address as it was given.
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
                "connect_timeout": CONNECT_S,
                "read_timeout": READ_S,
                "s3": {"addressing_style": style},
                "proxies": self._proxies(),
                "retries": {"mode": "standard", "total_max_attempts": 2},  # s3fs and `again` have their own
            },
        )


@lru_cache
def _session(profile: str | None, _pid: int) -> Any:  # noqa: ANN401 - it has no types
    """What s3fs asks by. It reads times fast: botocore takes 130 us for that of each object of a listing."""
    from aiobotocore.session import AioSession  # noqa: PLC0415 - as above

    session = AioSession(profile=profile)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time_of)
    return session


def _time_of(written: Any) -> datetime:  # noqa: ANN401 - whatever botocore finds in a reply
    """A time as S3 writes it, which is ISO 8601 in listings; any other is left to botocore."""
    try:
        found = datetime.fromisoformat(written) if written[4:5] == "-" else None
    except (TypeError, ValueError):
        found = None
    if found is not None:
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    from botocore.utils import parse_timestamp  # noqa: PLC0415 - as above

    other: datetime = parse_timestamp(written)
    return other


def _keys_of(profile: str | None) -> tuple[str | None, str | None, str | None]:
    """The keys of a profile; none where it has its credentials from elsewhere."""
    import botocore.exceptions  # noqa: PLC0415 - it takes a while, and is rarely needed
    import botocore.session  # noqa: PLC0415

    try:
        found = botocore.session.Session(profile=profile).get_credentials()
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(f"storage.profile: {error}.") from None
    if found is None or found.method not in FROM_FILES:
        return None, None, None
    return found.access_key, found.secret_key, found.token
