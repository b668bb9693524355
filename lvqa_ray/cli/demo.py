"""Commands ``lvqa demo`` and ``lvqa demo-endpoint``: the real pipeline with an embedded endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Annotated, Any, Literal

import typer

from lvqa_ray import config
from lvqa_ray.cli.arguments import named
from lvqa_ray.cli.audit import print_audit
from lvqa_ray.cli.display.summaries import print_record
from lvqa_ray.cli.display.terminal import fail, plain, talk
from lvqa_ray.cli.display.writer_summary import print_writer_summary
from lvqa_ray.cli.run import Overrides, run_and_report
from lvqa_ray.errors import LvqaError

DEMO_PORT = 8901
FEW_CAPTIONS = {"split": {"mode": "fixed", "max_seconds": 60}}
"""Clips of the sample video whose captions fit into the context of the small language model: a third of the default."""
MODEL_SLOTS = 2
"""Requests that the small language model answers at once."""


def demo(
    film: Annotated[Path | None, typer.Option(help="A video of your own instead of the sample video.")] = None,
    out: Annotated[
        str | None, typer.Option(help="Output folder. Default: lvqa-demo; with --engine, lvqa-demo-llm.")
    ] = None,
    engine: Annotated[
        Literal["llama_cpp"] | None,
        typer.Option(help="Have the questions written by a small language model that the run serves with this engine."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="GGUF file for --engine, instead of SmolLM2-135M-Instruct.")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run the real job on a sample video with the embedded endpoint: no key, no cost, and no vision model."""
    if model is not None and engine is None:
        fail("--model needs --engine llama_cpp, which serves it.")
    out = out or ("lvqa-demo-llm" if engine else "lvqa-demo")
    writer, sample = _writer(engine, model) if engine else None, film is None
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
            }
            | (_written_by(writer, endpoint, dict.fromkeys(KEYED_KINDS, 1)) if writer else {})
            | (FEW_CAPTIONS if writer and sample else {}),
            overrides or [],
            where="the command line",
        )
        status = run_and_report(job, named(job))
    if status == 0:
        _show(Path(out))
    if writer is not None and Path(out, "run.json").is_file():
        print_writer_summary(Path(out), writer.stem)
    raise typer.Exit(status)


def _writer(engine: str, model: Path | None) -> Path:
    """The GGUF file of the language model that writes the questions."""
    from lvqa_ray.demo.language_model import MODEL_CREDIT, fetch_language_model  # noqa: PLC0415 - for this demo alone
    from lvqa_ray.llm.engines.engine_args import missing_extra  # noqa: PLC0415 - it loads pydantic

    if missing := missing_extra(engine):
        fail(missing)
    if model is None:
        talk.print("Downloading the language model (93 MB, once) ...")
        model = fetch_language_model()
        talk.print(f"Language model: {MODEL_CREDIT}. It is far too small for the task: expect few usable questions.")
    elif not model.is_file():
        fail(f"There is no file {plain(str(model))}: give a GGUF file as --model.")
    return model.absolute()


def _written_by(model: Path, judge: dict[str, Any], kinds: dict[str, int]) -> dict[str, Any]:
    """Sections of the job that have a language model write the questions.

    The demo endpoint checks them, since it decides by measurements: a model that cannot write such a question cannot
    judge one either. It also rewrites the reasoning, as the small model would change what the reasons say.
    """
    from lvqa_ray.demo.language_model import MODEL_CONTEXT  # noqa: PLC0415 - for this demo alone

    language = {
        "engine": "llama_cpp",
        "model": str(model),
        "slots": MODEL_SLOTS,
        "engine_args": {"ctx_size": MODEL_SLOTS * MODEL_CONTEXT},
        "max_tokens": 500,
        "warmup_s": 300,
    }
    return {
        "endpoints": {"vlm": judge, "llm": language, "checker": judge, "reformat": judge},
        # One question in a call and no fresh tries: the small model loses the thread, and the demo ends in minutes.
        "ask": {"kinds": kinds, "reply_format": "json_schema", "per_call": 1, "fresh_tries": 0},
    }


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

    Thread(target=_load_engine, daemon=True, name="load-engine").start()
    with ExitStack() as stack:
        try:
            endpoint = stack.enter_context(DemoEndpoint(DEMO_PORT))
        except LvqaError:
            endpoint = stack.enter_context(DemoEndpoint())
        yield endpoint.url


def _load_engine() -> None:
    """Import what the run needs while the endpoint's process starts; the run itself reports what cannot be imported."""
    with suppress(Exception):
        import_module("lvqa_ray.engine.run")
        import_module("lvqa_ray.engine.local.local_run")


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
