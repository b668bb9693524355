"""The ``lvqa`` command: arguments -> job -> engine. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from lvqa_ray.config import Job
from lvqa_ray.errors import LvqaError

app = typer.Typer(
    help="Turn long videos into reasoning QA training data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
DEMO_PORT = 8901
talk = Console(stderr=True, highlight=False)

Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change a setting: section.key=value. May be repeated.", metavar="K=V")
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first so many videos.")]


def main() -> NoReturn:
    """Run the command line; a mistake of the user is one sentence and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except LvqaError as error:
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own mistakes of usage
            _fail(error.format_message())
        raise
    if status == 130:  # Ctrl-C, which typer may have turned into this number
        talk.print("Stopped. What is paid for is kept: the same command goes on where this one ended.")
    sys.exit(status if isinstance(status, int) else 0)


def _fail(sentence: str) -> NoReturn:
    talk.print(f"[bold red]error:[/] {_plain(sentence)}", soft_wrap=True)
    sys.exit(2)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


@app.callback(invoke_without_command=True)
def lvqa(show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Turn long videos into reasoning QA training data."""
    if show_version:
        typer.echo(f"lvqa-ray {version_of('lvqa-ray')}")
        raise typer.Exit


@app.command()
def run(
    sources: Annotated[
        list[str], typer.Argument(help="One job file (.yaml), or videos: files, folders, globs, manifests.")
    ],
    *,
    out: Annotated[str | None, typer.Option(help="Output folder.")] = None,
    base_url: Annotated[str | None, typer.Option(help="URL of the endpoint, such as http://localhost:8000/v1.")] = None,
    vlm_model: Annotated[str | None, typer.Option(help="Model that captions clips.")] = None,
    llm_model: Annotated[str | None, typer.Option(help="Model that writes questions.")] = None,
    reformat_model: Annotated[str | None, typer.Option(help="Model that rewrites reasoning; else --llm-model.")] = None,
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = "OPENAI_API_KEY",
    limit: Limit = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
) -> None:
    """Run a job; run it again to go on after whatever stopped it."""
    given: dict[str, Any] = {"output": out} if out else {}
    if limit:
        given["limit"] = limit
    files = [source for source in sources if Path(source).suffix.lower() in {".yaml", ".yml"}]
    if files and len(sources) > 1:
        _fail(f"{files[0]} is a job file, and names its videos itself: give it alone.")
    if files:
        direct = {"--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if extra := [name for name, value in {**direct, "--reformat-model": reformat_model}.items() if value]:
            _fail(f"{', '.join(extra)} cannot stand beside a job file; use --set endpoints.vlm.model=... and the like.")
        job = Job.load(
            sources[0], [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *(overrides or [])]
        )
    else:
        needed = {"--out": out, "--base-url": base_url, "--vlm-model": vlm_model, "--llm-model": llm_model}
        if missing := [name for name, value in needed.items() if not value]:
            _fail(f"without a job file, {', '.join(missing)} must be given.")
        shared = {"base_url": base_url, "api_key_env": api_key_env}
        endpoints = {"vlm": {**shared, "model": vlm_model}, "llm": {**shared, "model": llm_model}}
        if reformat_model:
            endpoints["reformat"] = {**shared, "model": reformat_model}
        job = Job.of({"videos": sources, "endpoints": endpoints, **given}, overrides or [], where="the command line")
    if dry_run:
        _print_plan(job)
        return
    raise typer.Exit(_run(job))


def _run(job: Job) -> int:
    """Run a job, say how it went, and give the exit status."""
    from lvqa_ray.engine.run import run as run_job  # noqa: PLC0415 - Ray takes seconds to import

    with talk.status("starting ...") if talk.is_terminal else _Quiet() as status:
        summary = run_job(job, lambda traffic: status.update(_traffic(traffic)))
    _print_summary(summary)
    return summary.exit_status


class _Quiet:
    """Stands in for the status line where there is no terminal: a line every 30 s."""

    def __init__(self) -> None:
        self._next = 0.0

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, line: str) -> None:
        """Print the line if the last one is long enough ago."""
        import time  # noqa: PLC0415

        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 30
            talk.print(line, soft_wrap=True)


def _traffic(traffic: Mapping[str, Any]) -> str:
    parts = []
    for endpoint, line in traffic.items():
        failed = f", {sum(line.failed.values())} failed attempts" if line.failed else ""
        parts.append(f"{endpoint}: {line.answered} answered, {line.in_flight} in flight{failed}")
    return "; ".join(parts)


def _print_plan(job: Job) -> None:
    from lvqa_ray.engine.plan import plan  # noqa: PLC0415 - Ray takes seconds to import

    planned = plan(job)
    table = Table(title="What would be done", show_header=False)
    table.add_row("videos", str(planned.videos))
    table.add_row("already done", str(planned.already_done))
    table.add_row("unusable", str(planned.unusable))
    table.add_row("hours of video", f"{planned.seconds / 3600:.2f}")
    atleast = "" if planned.exact else "at least "
    table.add_row("clips", f"{atleast}{planned.clips}")
    for stage, calls in planned.calls.items():
        table.add_row(f"calls: {stage}", f"{atleast}{calls}")
    Console(highlight=False).print(table)


def _print_summary(summary: Any) -> None:  # noqa: ANN401 - a RunSummary, whose module is not imported at start
    table = Table(title=f"Run {summary.run_id}", show_header=False)
    table.add_row("videos", str(summary.videos))
    table.add_row("done before", str(summary.already_done))
    table.add_row("records", f"[green]{summary.records}[/]")
    table.add_row("failures", f"[{'red' if summary.failures else 'green'}]{sum(summary.failures.values())}[/]")
    for kind, count in summary.failures.items():
        table.add_row(f"  {kind}", str(count))
    if summary.unfinished:
        table.add_row("unfinished", f"[red]{summary.unfinished}[/]")
    table.add_row("clips", str(summary.clips))
    for stage, spent in summary.spent.items():
        cost = f", ${spent.cost_usd:.4f}" if spent.cost_usd is not None else ""
        table.add_row(
            f"paid calls: {stage}",
            f"{spent.calls} ({spent.input_tokens:,} tokens in, {spent.output_tokens:,} out{cost})",
        )
    table.add_row("time", f"{summary.seconds:.0f} s")
    talk.print(table)
    if summary.halted:
        talk.print(f"[bold red]stopped:[/] {_plain(summary.halted)}", soft_wrap=True)
        talk.print("Mend that, then run the same command: it goes on where this run stopped, and pays nothing twice.")
    elif summary.retryable:
        talk.print(f"{summary.retryable} failures may be mended by running the same command again.")
    if summary.failures:
        talk.print(f"Reasons: {_plain(summary.output)}/failures/, one row a video.", soft_wrap=True)
    typer.echo(summary.output)


@app.command()
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
        status = _run(job)
    if status == 0:
        _print_record(Path(out))
    raise typer.Exit(status)


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


def _print_record(folder: Path) -> None:
    from lvqa_ray.engine.tables import read_rows  # noqa: PLC0415

    record = next(read_rows(folder, "data"), None)
    if record is None:
        return
    talk.rule("One record")
    talk.print(_plain(record["full_question"]))
    talk.print(f"[bold]Answer:[/] {record['parsed_reasoning']['ANSWER']}")
    talk.print(f"[bold]Reasoning:[/] {_plain(record['reformatted_reasoning'])}")
    talk.rule("Open it")
    talk.print(f"python -c \"import pandas; print(pandas.read_parquet('{folder}/data').iloc[0])\"")


@app.command("demo-endpoint")
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


@app.command()
def schema() -> None:
    """Print the JSON schema of a job file, for editors and for reading."""
    typer.echo(json.dumps(Job.model_json_schema(), indent=2))


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    to: Annotated[Path | None, typer.Option("--to", help="File to write; else OUTPUT/dataflow.json.")] = None,
    form: Annotated[str, typer.Option("--format", help="dataflow-json: the reference's final JSON.")] = "dataflow-json",
) -> None:
    """Write the records of a run in another tool's format."""
    from lvqa_ray.report.export import FORMATS  # noqa: PLC0415

    if form not in FORMATS:
        _fail(f"there is no format {form}; there is {', '.join(FORMATS)}.")
    target = to or output / "dataflow.json"
    count = FORMATS[form](output, target)
    talk.print(f"{count} records written to {_plain(str(target))}", soft_wrap=True)
