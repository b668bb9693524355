"""``lvqa demo`` and ``lvqa demo-endpoint``: the real job against an endpoint of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lvqa_ray.cli.arguments import named
from lvqa_ray.cli.audit import print_audit
from lvqa_ray.cli.display.summaries import print_record
from lvqa_ray.cli.display.terminal import talk
from lvqa_ray.cli.run import Overrides, run_and_tell
from lvqa_ray.config import Job
from lvqa_ray.errors import LvqaError

DEMO_PORT = 8901


def demo(
    film: Annotated[Path | None, typer.Option(help="A film of your own instead of the sample film.")] = None,
    out: Annotated[str, typer.Option(help="Output folder.")] = "lvqa-demo",
    overrides: Overrides = None,
) -> None:
    """Run the real job on a sample film against the embedded endpoint: no key, no cost, and no vision model."""
    from lvqa_ray.demo.chat import MODEL  # noqa: PLC0415 - pulls in OpenCV
    from lvqa_ray.demo.film import CREDIT, fetch_film  # noqa: PLC0415

    if film is None:
        talk.print("Getting the sample film (58 MB, once) ...")
        film = fetch_film()
        talk.print(f"Film: {CREDIT}")
    talk.print(
        f"Model: {MODEL}, which is no vision model: it writes down what it measures in the frames, "
        "so the text is dry, and only the pipeline is real."
    )
    with _demo_endpoint() as base_url:
        endpoint = {"base_url": base_url, "model": MODEL, "api_key_env": None}
        job = Job.of(
            {"videos": [str(film)], "output": out, "endpoints": {"vlm": endpoint, "llm": endpoint}},
            overrides or [],
            where="the command line",
        )
        status = run_and_tell(job, named(job))
    if status == 0:
        _show(Path(out))
    raise typer.Exit(status)


def _show(folder: Path) -> None:
    """What the checks found, and the first record."""
    from lvqa_ray.dataset.statistics.audit import audit  # noqa: PLC0415 - Arrow takes a second to import

    print_audit({str(folder): audit(folder)})
    print_record(folder)


@contextmanager
def _demo_endpoint() -> Iterator[str]:
    """The embedded endpoint, at its usual port if that is free: a second demo then finds the first one's answers."""
    from lvqa_ray.demo.endpoint import DemoEndpoint  # noqa: PLC0415 - pulls in OpenCV

    with ExitStack() as stack:
        try:
            url = stack.enter_context(DemoEndpoint(port=DEMO_PORT))
        except LvqaError:
            url = stack.enter_context(DemoEndpoint())
        yield url


def demo_endpoint(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = DEMO_PORT,
    host: Annotated[str, typer.Option(help="Loopback address to listen at.")] = "127.0.0.1",
) -> None:
    """Serve the embedded endpoint, which needs no key and is no vision model, until Ctrl-C."""
    import asyncio  # noqa: PLC0415

    from lvqa_ray.demo.chat import MODEL  # noqa: PLC0415 - pulls in OpenCV
    from lvqa_ray.demo.endpoint import serve  # noqa: PLC0415

    def ready(url: str) -> None:
        talk.print(f"{MODEL} at {url} (no vision model; Ctrl-C ends it)")

    asyncio.run(serve(host, port, ready))
