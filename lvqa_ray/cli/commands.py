"""Command table of ``lvqa``, exit statuses, and messages for errors."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lvqa_ray import config
from lvqa_ray.cli import (
    analyze,
    audit,
    batch_commands,
    cache_commands,
    check,
    demo,
    export,
    push,
    report,
    results,
    review,
    run,
    serve,
)
from lvqa_ray.cli.display.reference import reference
from lvqa_ray.cli.display.terminal import fail, say_json, say_stopped, show_warnings, stop_at_broken_pipe, talk
from lvqa_ray.errors import LvqaError, RunStopped

app = typer.Typer(
    help="Turn long videos into questions with reasoning, to train video-language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_BEFORE, _RUN, _AFTER, _TRY = "Before a run", "Run", "After a run", "Try it"
app.command(rich_help_panel=_BEFORE)(run.estimate)
app.command(rich_help_panel=_BEFORE)(run.plan)
app.command(rich_help_panel=_BEFORE)(check.check)
app.command(rich_help_panel=_BEFORE)(check.preview)
app.command(rich_help_panel=_RUN)(run.run)
app.command(rich_help_panel=_RUN)(analyze.analyze)
app.command(rich_help_panel=_RUN)(serve.serve)
app.command("serve-model", rich_help_panel=_RUN)(serve.serve_model)
app.command(rich_help_panel=_AFTER)(results.failures)
app.command(rich_help_panel=_AFTER)(results.retry)
app.command(rich_help_panel=_AFTER)(results.verify)
app.command(rich_help_panel=_AFTER)(audit.audit)
app.command(rich_help_panel=_AFTER)(review.review)
app.command(rich_help_panel=_AFTER)(report.report)
app.command(rich_help_panel=_AFTER)(export.export)
app.command("batches", rich_help_panel=_AFTER)(batch_commands.batches)
app.command(rich_help_panel=_AFTER)(push.push)
app.add_typer(cache_commands.app, name="cache", rich_help_panel=_AFTER)
app.command(rich_help_panel=_TRY)(demo.demo)
app.command("demo-endpoint", rich_help_panel=_TRY)(demo.demo_endpoint)


def status() -> int:
    """Run the command line and return the exit status; a user error prints one sentence and returns 2."""
    show_warnings()
    try:
        ended = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that a broken pipe gives no traceback
    except RunStopped as error:
        say_stopped(error)
        ended = 1
    except LvqaError as error:
        fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        ended = 130
    except BrokenPipeError:
        return stop_at_broken_pipe()
    except OSError as error:  # from a disk or an object store
        from lvqa_ray.storage.paths import describe_os_error  # noqa: PLC0415 - needed only here

        fail(describe_os_error(error))
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's usage errors
            fail(error.format_message())
        raise
    if ended in {129, 130, 143}:  # SIGHUP, Ctrl-C (typer may return this number), SIGTERM
        talk.print("Stopped. All paid replies are kept: run the same command to resume.", soft_wrap=True)
    return ended if isinstance(ended, int) else 0


@app.callback(invoke_without_command=True)
def lvqa(show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Turn long videos into questions with reasoning, to train video-language models."""
    if show_version:
        from importlib.metadata import version as version_of  # noqa: PLC0415 - it loads the parser of e-mails

        typer.echo(f"lvqa-ray {version_of('lvqa-ray')}")
        raise typer.Exit


@app.command(rich_help_panel=_BEFORE)
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/configuration.md instead: all settings as Markdown.")
    ] = False,
) -> None:
    """Print the JSON schema of a job file. Editors use it to complete and check job files."""
    if markdown:
        typer.echo(reference(), nl=False)
        return
    say_json(config.Job.model_json_schema())
