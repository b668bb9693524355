"""Commands ``lvqa serve``, analyses of videos over HTTP, and ``lvqa serve-model``, model servers between runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
    from lvqa_ray.engine.ray.models.model_servers import RunningModel
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
    if loaded.endpoints.served:
        label = next(iter(loaded.endpoints.served.values())).label
        fail(f"lvqa serve does not start {label}: start it with lvqa serve-model, and give its address as base_url.")
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


def serve_model(
    job: Annotated[Path, typer.Argument(help="Job file (.yaml) with endpoints that have an engine.")],
    *,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when the models run; they stay until --stop. Needs RAY_ADDRESS.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End models that run. Needs RAY_ADDRESS.")] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for all models; 0 for a free one. Only if Ray Serve is not up.")
    ] = 0,
    overrides: Overrides = None,
) -> None:
    """Start the models that a job serves, and keep them up: runs on the same Ray use them and leave them running."""
    loaded = config.Job.load(job, overrides or [])
    if not loaded.endpoints.served:
        fail(f"{job} serves no model: give an endpoint engine instead of base_url.")
    if detach and stop:
        fail("--detach and --stop exclude each other.")
    from lvqa_ray.engine.preflight.validation import check_models  # noqa: PLC0415 - as below

    check_models(loaded)
    from lvqa_ray.engine.ray.models import serve_model as serving  # noqa: PLC0415 - Ray takes seconds to import

    if stop:
        ended = serving.stop_serving(loaded)
        talk.print(plain(f"Ended: {', '.join(ended)}." if ended else "None of the models ran."), soft_wrap=True)
        return
    serve = serving.serve_detached if detach else serving.serve_until_stopped
    serve(loaded, _Said(), _print_addresses, port=port)


class _Said:
    """Prints what is waited for, each text once."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, text: str) -> None:
        if text != self._last:
            talk.print(plain(f"Waiting for {text}"), soft_wrap=True)
            self._last = text


def _print_addresses(running: Mapping[str, RunningModel]) -> None:
    for model in running.values():
        servers = f"{model.replicas} server{'' if model.replicas == 1 else 's'}"
        talk.print(plain(f"Serving {model.label} at {model.address} ({servers})"), soft_wrap=True)
