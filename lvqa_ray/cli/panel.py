"""What is seen while a run goes on: one panel on a terminal, one JSON line every half minute elsewhere."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lvqa_ray.llm.ledger import total

if TYPE_CHECKING:
    from lvqa_ray.engine.progress import Progress

EVERY_S = 30.0
STAGES = ("caption", "ask", "blind", "solve", "reformat")


class Screen:
    """A live panel for a terminal; it begins with the first news, when Ray has said what it says at its start.

    Args:
        console: Where to.
        title: What is running.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._title = title
        self._console = console
        self._begun = False

    def __enter__(self) -> Self:
        self._console.print("Starting ...")
        return self

    def __exit__(self, *_: object) -> None:
        if self._begun:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Show how far it has come."""
        if not self._begun:
            self._begun = True
            self._live.start()
        self._live.update(panel(progress, self._title))


class Lines:
    """A JSON line every half minute, for logs and for programs.

    Args:
        console: Where to.
        quiet: Say nothing.
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
        """Say how far it has come, if the last line is long enough ago."""
        if self._quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        self._console.out(json.dumps(as_json(progress), ensure_ascii=False), highlight=False)


def as_json(progress: Progress) -> dict[str, Any]:
    """How far a run has come, as plain values."""
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
    }


def panel(progress: Progress, title: str) -> Panel:
    """How far a run has come, as it is shown on a terminal."""
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
    calls = "  ".join(
        f"{stage} {progress.paid[stage].calls:,}"
        for stage in sorted(progress.paid, key=lambda stage: (STAGES.index(stage) if stage in STAGES else 9, stage))
    )
    below = Table.grid(padding=(0, 2))
    below.add_column(style="bold")
    below.add_column()
    below.add_row(
        "paid calls",
        Text(f"{calls or 'none yet'}{f'  ({progress.cached:,} from the journal)' if progress.cached else ''}"),
    )
    for label, speed in progress.speeds.items():
        below.add_row("endpoint", Text(_endpoint(label, speed), overflow="fold"))
    below.add_row("time", Text(_time(progress)))
    if progress.cost_usd is not None:
        about = f", about ${progress.projected_usd:,.2f} in all" if progress.projected_usd is not None else ""
        below.add_row("cost", Text(f"${progress.cost_usd:,.4f}{about}"))
    if progress.last_failure:
        below.add_row("last failure", Text(" ".join(progress.last_failure.split()), overflow="ellipsis", no_wrap=True))
    return Panel(Group(work, "", below), title=Text(title), title_align="left", border_style="dim")


def _failed(count: int) -> str:
    return f"[red]{count:,} failed[/]" if count else "none failed"


def _bar(done: int, of: int) -> ProgressBar:
    return ProgressBar(total=max(of, 1), completed=min(done, of), width=30)


def _endpoint(label: str, speed: Any) -> str:  # noqa: ANN401 - a Speed, whose module is not imported at start
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


def talkative() -> None:
    """Let what the package logs be seen, on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logger = logging.getLogger("lvqa_ray")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
