"""Table of the accept rates of reviewed records, for ``lvqa audit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lvqa_ray.cli.display.layout import show, table
from lvqa_ray.cli.display.terminal import data, plain, talk

if TYPE_CHECKING:
    from lvqa_ray.review.agreement import AcceptRate, ReviewStatistics


def print_reviews(found: Mapping[str, ReviewStatistics]) -> None:
    """Print the accept rates of outputs with reviews; nothing without reviews.

    Args:
        found: Statistics by output.
    """
    for output, statistics in found.items():
        if not statistics.total.of:
            continue
        made = table(f"Reviews of {plain(output)}", "", "accepted", "edited", "dropped", "accepted (95 % interval)")
        made.add_row("all", *_cells(statistics.total))
        for group, rates in statistics.by.items():
            for name, rate in rates.items():
                made.add_row(plain(f"{group}: {name}"), *_cells(rate))
        show(data, made)
        for kappa in statistics.kappas:
            measured = "not defined (one action only)" if kappa.kappa is None else f"{kappa.kappa:.2f}"
            talk.print(
                plain(
                    f"{' and '.join(kappa.reviewers)} agree on {kappa.agreed:,} of {kappa.both:,} records; "
                    f"Cohen's kappa {measured}."
                ),
                soft_wrap=True,
            )


def _cells(rate: AcceptRate) -> tuple[str, ...]:
    share = f"{100 * rate.accepted / rate.of:.0f} % ({100 * rate.low:.0f}-{100 * rate.high:.0f})"
    return f"{rate.accepted:,}", f"{rate.edited:,}", f"{rate.dropped:,}", share
