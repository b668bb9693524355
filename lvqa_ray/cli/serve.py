"""Command ``lvqa serve``: analyses of videos over HTTP."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lvqa_ray import config
from lvqa_ray.cli.display.terminal import fail, plain, talk
from lvqa_ray.cli.run import Overrides

if TYPE_CHECKING:
    from lvqa_ray.serve.app import ServiceApp

REQUESTED_VIDEOS = "(the videos of requests)"
SHORTEST_TOKEN = 16


def serve(
    job: Annotated[Path, typer.Argument(help="Job file (.yaml); its videos are ignored.")],
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; any but loopback needs a token. Default: serve.host.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on. Default: serve.port.")] = None,
    overrides: Overrides = None,
) -> None:
    """Analyze videos for clients over HTTP: server-sent events, plain JSON, and a web page to try it."""
    if find_spec("fastapi") is None or find_spec("ray.serve.api") is None:
        fail("lvqa serve needs more packages: run pip install 'lvqa-ray[serve]'.")
    given = {"serve.host": host, "serve.port": port}
    sets = [f"{key}={value}" for key, value in given.items() if value is not None]
    loaded = config.Job.load(job, [f'videos=["{REQUESTED_VIDEOS}"]', *sets, *(overrides or [])])
    settings = loaded.serve
    token = os.environ.get(settings.token_env, "").strip()
    from lvqa_ray.serve.access.key_pairs import key_pairs  # noqa: PLC0415 - Typer imports this module for any command

    if not token and not key_pairs(settings) and (settings.public_url or not _is_loopback(settings.host)):
        where = f"serve.public_url {settings.public_url}" if settings.public_url else f"serve.host {settings.host}"
        fail(
            f"{where} is reachable from other machines: set the environment variable {settings.token_env} to a token "
            f"that clients must send, or {settings.access_keys_env} to access keys, or listen on 127.0.0.1 only."
        )
    if token and len(token) < SHORTEST_TOKEN:
        fail(
            f"the token in {settings.token_env} has fewer than {SHORTEST_TOKEN} characters. Make one with: openssl "
            "rand -hex 24"
        )
    from lvqa_ray.engine.preflight.validation import check_endpoints, check_output, check_prices  # noqa: PLC0415
    from lvqa_ray.engine.ray.serve_deployment import run_ingress  # noqa: PLC0415 - Ray takes seconds to import

    check_output(config.output_path(loaded))
    check_prices(loaded)
    check_endpoints(loaded)
    url = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}/"
    on_ready = partial(talk.print, plain(f"Serving {loaded.output} at {url}"), soft_wrap=True)
    run_ingress(loaded, partial(build, loaded), on_ready)


def build(job: config.Job) -> ServiceApp:
    """Build the application with the secrets of this process's environment: they never pass through Ray."""
    from lvqa_ray.serve.access.key_pairs import key_pairs  # noqa: PLC0415 - as above
    from lvqa_ray.serve.app import make_app  # noqa: PLC0415 - it needs an extra

    return make_app(job, os.environ.get(job.serve.token_env, "").strip(), key_pairs(job.serve))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
