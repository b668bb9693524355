"""Commands ``lvqa demo`` and ``lvqa demo-endpoint``: the real pipeline with an embedded endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lvqa_ray import config
from lvqa_ray.cli.arguments import named
from lvqa_ray.cli.audit import print_audit
from lvqa_ray.cli.display.summaries import print_record
from lvqa_ray.cli.display.terminal import talk
from lvqa_ray.cli.run import Overrides, run_and_report
from lvqa_ray.errors import LvqaError

DEMO_PORT = 8901


def demo(
    film: Annotated[Path | None, typer.Option(help="A video of your own instead of the sample video.")] = None,
    out: Annotated[str, typer.Option(help="Output folder.")] = "lvqa-demo",
    overrides: Overrides = None,
) -> None:
    """Run the real job on a sample video with the embedded endpoint: no key, no cost, and no vision model."""
    from lvqa_ray.demo.film import CREDIT, fetch_film  # noqa: PLC0415 - for the demo alone
    from lvqa_ray.llm.endpoint import DEMO_MODEL  # noqa: PLC0415 - it loads pydantic, which a help page does without

    if film is None:
        talk.print("Downloading the sample video (58 MB, once) ...")
        film = fetch_film()
        talk.print(f"Video: {CREDIT}")
    talk.print(
        f"Model: {DEMO_MODEL}. It is not a vision model: it writes text from measurements of the frames. "
        "The pipeline is the real one."
    )
    from lvqa_ray.records import KEYED_KINDS  # noqa: PLC0415 - a help page loads no rows

    with _demo_endpoint() as base_url:
        endpoint = {"base_url": base_url, "model": DEMO_MODEL, "api_key_env": None}
        job = config.Job.of(
            {
                "videos": [str(film)],
                "output": out,
                "endpoints": {"vlm": endpoint, "llm": endpoint},
                "ask": {"kinds": dict.fromkeys(KEYED_KINDS, 1)},
            },
            overrides or [],
            where="the command line",
        )
        status = run_and_report(job, named(job))
    if status == 0:
        _show(Path(out))
    raise typer.Exit(status)


def _show(folder: Path) -> None:
    """Print the audit and the first record."""
    from lvqa_ray.dataset.reader import OutputReader  # noqa: PLC0415 - Arrow takes a second to import
    from lvqa_ray.dataset.statistics.output_statistics import count  # noqa: PLC0415

    print_audit({str(folder): count(OutputReader(folder)).audit})
    print_record(folder)


@contextmanager
def _demo_endpoint() -> Iterator[str]:
    """Start the embedded endpoint, on its usual port if free, so that a second demo has the same cache keys."""
    from lvqa_ray.demo.endpoint import DemoEndpoint  # noqa: PLC0415 - pulls in OpenCV

    with ExitStack() as stack:
        try:
            endpoint = stack.enter_context(DemoEndpoint(DEMO_PORT))
        except LvqaError:
            endpoint = stack.enter_context(DemoEndpoint())
        yield endpoint.url


def demo_endpoint(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 selects a free one.")] = DEMO_PORT,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
) -> None:
    """Start the embedded endpoint, which needs no key and is not a vision model. Ctrl-C stops it."""
    import asyncio  # noqa: PLC0415

    from lvqa_ray.demo.endpoint import serve  # noqa: PLC0415 - pulls in OpenCV
    from lvqa_ray.llm.endpoint import DEMO_MODEL  # noqa: PLC0415 - as above

    def ready(url: str) -> None:
        talk.print(f"{DEMO_MODEL} at {url} (not a vision model; Ctrl-C stops it)")

    asyncio.run(serve(host, port, ready))
