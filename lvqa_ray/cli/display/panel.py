"""Progress display of a run: a live panel on a terminal, otherwise one JSON line every 30 s."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, ConsoleRenderable, Group, RenderHook
from rich.live_render import LiveRender
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lvqa_ray.cli.display.terminal import ConsoleHandler
from lvqa_ray.cli.display.visible import VisibleFormatter, json_text, visible

if TYPE_CHECKING:
    from lvqa_ray.engine.progress import Progress, Speed

PROGRESS_LINE_EVERY_S = 30.0


class Screen(RenderHook):
    """Live panel on a terminal, redrawn with each update; it appears with the first update that has numbers.

    It is drawn only while the command is in the foreground of its terminal: a background job would overwrite what the
    user types. The cursor is never hidden, so that it is visible after Ctrl-Z and after a kill.

    Args:
        console: Console to print to.
        title: Title of the panel.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._title = title
        self._console = console
        self._panel = LiveRender("")
        self._drawn = False
        self._before: Any = None
        self._next_phase_s = 0.0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGCONT, self._on_continue)
        self._console.push_render_hook(self)
        if _in_foreground(self._console):
            self._console.print("Starting ...")
        return self

    def __exit__(self, *_: object) -> None:
        self._console.pop_render_hook()
        if self._drawn and _in_foreground(self._console):
            self._console.control(self._panel.position_cursor())
        if self._before is not None:
            signal.signal(signal.SIGCONT, self._before)

    def update(self, progress: Progress) -> None:
        """Show the progress, or what the run waits for before there is any."""
        if not _in_foreground(self._console):
            self._drawn = False  # the drawn panel now belongs to the shell's output
        elif not progress.phase:
            self._panel.set_renderable(panel(progress, self._title))
            self._console.print(self._panel, end="")
            self._drawn = True
        elif progress.seconds >= self._next_phase_s:
            self._next_phase_s = progress.seconds + PROGRESS_LINE_EVERY_S
            self._console.print(f"Waiting for {progress.phase}, for {_span(progress.still_s)} so far ...")

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Erase the panel before anything is printed, including the next panel."""
        if not self._drawn:
            return renderables
        self._drawn = False
        return [self._panel.position_cursor(), *renderables]

    def _on_continue(self, _: int, __: FrameType | None) -> None:
        """After Ctrl-Z and `fg`: leave the old panel where it is, above the shell's output."""
        self._drawn = False


def _in_foreground(console: Console) -> bool:
    """Whether this process is in the foreground of the console's terminal; true without a terminal."""
    with suppress(OSError, ValueError, AttributeError):
        return os.tcgetpgrp(console.file.fileno()) == os.getpgrp()
    return True


class Lines:
    """Progress as a JSON line every 30 s, for logs and for programs.

    Args:
        console: Console to print to.
        quiet: Print nothing.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._next = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, progress: Progress) -> None:
        """Print the progress if the last line is at least 30 s old."""
        if self._quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_LINE_EVERY_S
        self._console.out(json_text(as_json(progress)), highlight=False)


def as_json(progress: Progress) -> dict[str, Any]:
    """The progress as plain values."""
    from lvqa_ray.journal.costs import total  # noqa: PLC0415 - `lvqa --help` need not load what the journal needs

    bill = total(progress.paid.values())
    return {
        "seconds": round(progress.seconds, 1),
        "videos": {"all": progress.videos, "done": progress.done, "failed": progress.failed},
        "clips": {
            "found": progress.clips,
            "expected": progress.clips_expected,
            "captioned": progress.captions,
            "failed": progress.clips_failed,
        },
        "questions": {"kept": progress.kept, "dropped": progress.dropped},
        "paid_calls": {stage: paid.calls for stage, paid in progress.paid.items()},
        "tokens": {"in": bill.input_tokens, "out": bill.output_tokens},
        "from_journal": progress.cached,
        "cost_usd": progress.cost_usd,
        "hit_share": progress.hit_share,
        "projected_usd": progress.projected_usd,
        "left_s": None if progress.left_s is None else round(progress.left_s),
        "endpoints": {
            label: {
                "requests_per_minute": round(speed.requests),
                "requests_limit": speed.requests_limit,
                "tokens_per_minute": round(speed.tokens),
                "tokens_limit": speed.tokens_limit,
                "in_flight": speed.traffic.in_flight,
                "in_flight_limit": speed.traffic.most_in_flight,
                "failed_attempts": speed.traffic.failed,
                "down_s": round(speed.traffic.down_s),
            }
            for label, speed in progress.speeds.items()
        },
        "last_failure": progress.last_failure,
        "still_s": round(progress.still_s),
        "waiting_for": progress.waiting,
    }


def panel(progress: Progress, title: str) -> Panel:
    """The progress as a panel for a terminal."""
    work = Table.grid(padding=(0, 2))
    work.add_column(style="bold")
    work.add_column()
    work.add_column(justify="right")
    work.add_column(style="dim")
    ended = progress.done + progress.failed
    work.add_row(
        "videos", _bar(ended, progress.videos), f"{progress.done:,} of {progress.videos:,}", _failed(progress.failed)
    )
    captions, expected = progress.captions, progress.clips_expected
    of = f"{captions:,} of about {expected:,}" if expected else f"{captions:,}"
    clips = f"{_failed(progress.clips_failed)}, {progress.clips:,} clips found"
    work.add_row("captions", _bar(captions, expected or 1), of, clips)
    work.add_row("questions", "", f"{progress.kept:,} kept", f"{progress.dropped:,} dropped")
    calls = "  ".join(f"{stage} {paid.calls:,}" for stage, paid in progress.paid.items())
    below = Table.grid(padding=(0, 2))
    below.add_column(style="bold")
    below.add_column()
    below.add_row(
        "paid calls",
        Text(f"{calls or 'none yet'}{f'  ({progress.cached:,} from the cache)' if progress.cached else ''}"),
    )
    for label, speed in progress.speeds.items():
        below.add_row("endpoint", Text(visible(_endpoint(label, speed)), overflow="fold"))
    below.add_row("time", Text(_time(progress)))
    if progress.cost_usd is not None:
        about = f", about ${progress.projected_usd:,.2f} in all" if progress.projected_usd is not None else ""
        below.add_row("cost", Text(f"${progress.cost_usd:,.4f}{about}"))
    if progress.hit_share is not None:
        below.add_row("prompt cache", Text(f"{100 * progress.hit_share:.0f} % of the prompt tokens"))
    if progress.last_failure:
        last = visible(" ".join(progress.last_failure.split()))
        below.add_row("last failure", Text(last, overflow="ellipsis", no_wrap=True))
    if progress.waiting:
        waits = f"no progress for {_span(progress.still_s)}; waiting for {progress.waiting}"
        below.add_row("waiting", Text(visible(waits), overflow="fold"))
    return Panel(
        Group(work, "", below), title=Text(visible(title, one_line=True)), title_align="left", border_style="dim"
    )


def _failed(count: int) -> str:
    return f"[red]{count:,} failed[/]" if count else "none failed"


def _bar(done: int, of: int) -> ProgressBar:
    return ProgressBar(total=max(of, 1), completed=min(done, of), width=30)


def _endpoint(label: str, speed: Speed) -> str:
    def against(now: float, limit: int | None) -> str:
        return f"{now:,.0f}" + (f" of {limit:,}" if limit else "")

    parts = [
        f"{label}: {against(speed.requests, speed.requests_limit)} requests/min",
        f"{against(speed.tokens, speed.tokens_limit)} tokens/min",
        f"{speed.traffic.in_flight} of {speed.traffic.most_in_flight} in flight",
    ]
    parts += [f"{count} x {kind}" for kind, count in speed.traffic.failed.items()]
    parts += [f"DOWN for {speed.traffic.down_s:.0f} s"] if speed.traffic.down_s else []
    return ", ".join(parts)


def _time(progress: Progress) -> str:
    left = progress.left_s
    return f"{_span(progress.seconds)}" + (f", about {_span(left)} left" if left is not None else "")


def _span(seconds: float) -> str:
    whole = round(seconds)
    return (
        f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole >= 3600 else f"{whole // 60}:{whole % 60:02}"
    )


def show_log(console: Console) -> None:
    """Print the package's log records to a console, from DEBUG on."""
    handler = ConsoleHandler(console)
    handler.setFormatter(VisibleFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger = logging.getLogger("lvqa_ray")
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
