"""All commands, and what is said where one of them ends otherwise than it should."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from lvqa_ray.cli import analyze, audit, cache_commands, check, demo, export, report, results, run, serve
from lvqa_ray.cli.display.terminal import fail, say_json, say_stopped, show_warnings, stop_at_broken_pipe, talk
from lvqa_ray.cli.reference import reference
from lvqa_ray.config import Job
from lvqa_ray.errors import LvqaError, RunStopped
from lvqa_ray.storage.paths import describe_os_error

app = typer.Typer(
    help="Turn long videos into reasoning QA training data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run.run)
app.command()(analyze.analyze)
app.command()(serve.serve)
app.command()(check.check)
app.command()(check.preview)
app.command()(run.plan)
app.command()(run.estimate)
app.command()(results.failures)
app.command()(results.retry)
app.command()(results.verify)
app.command()(audit.audit)
app.command()(report.report)
app.command()(export.export)
app.command()(demo.demo)
app.command("demo-endpoint")(demo.demo_endpoint)
app.add_typer(cache_commands.app, name="cache")


def status() -> int:
    """Run the command line and give the exit status; a mistake of the user is one sentence and 2."""
    show_warnings()
    try:
        ended = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a reader that is gone is no traceback
    except RunStopped as error:
        say_stopped(error)
        ended = 1
    except LvqaError as error:
        fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        ended = 130
    except BrokenPipeError:
        return stop_at_broken_pipe()
    except OSError as error:  # of a disk or store
        fail(describe_os_error(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own mistakes of usage
            fail(error.format_message())
        raise
    if ended in {129, 130, 143}:  # SIGHUP, Ctrl-C, which typer may have turned into this number, or SIGTERM
        talk.print("Stopped. What is paid for is kept: the same command goes on where this one ended.", soft_wrap=True)
    return ended if isinstance(ended, int) else 0


@app.callback(invoke_without_command=True)
def lvqa(show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Turn long videos into reasoning QA training data."""
    if show_version:
        typer.echo(f"lvqa-ray {version_of('lvqa-ray')}")
        raise typer.Exit


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="A page to read instead, with all defaults.")] = False,
) -> None:
    """Print the JSON schema of a job file, for editors and for reading."""
    if markdown:
        typer.echo(reference(), nl=False)
        return
    say_json(Job.model_json_schema())
