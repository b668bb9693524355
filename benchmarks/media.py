"""Cost of scenes, frames and clips of a long video: ``python benchmarks/media.py [FILM]``.

Each measurement runs in its own process, so that they share no caches, threads or memory; imports are excluded. CPU
seconds are user and system time of all threads. Methods alternate, and medians are shown.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.films import loop, make_noise
from benchmarks.media_methods import CUTS, DECODE, METHODS, PART, REFERENCE, REFERENCE_PART, SCENES, STOCK
from benchmarks.scoring import f1
from lvqa_ray.demo.film import fetch_film
from lvqa_ray.video.reader.media_info import probe

LENGTHS_MIN = (1.0, 2.0, 4.0, 10.0)
LONGEST_REFERENCE_MIN = 4.0
"""Methods that decode from the start for every clip take 100 times as long for 10 minutes as for one: for longer videos
(minutes) they run on a sample of the clips."""

Row = dict[str, Any]


def scenes(film: Path, folder: Path, *, seconds: float, repeats: int) -> list[Row]:
    """Scenes and frames, compared with decoding alone."""
    begin = folder / "begin.mp4"
    loop(film, begin, seconds)
    return _against(DECODE, SCENES, begin, f"scenes and frames: {film.name}, first {seconds:g} s", repeats)


def noise(folder: Path, *, minutes: float, repeats: int) -> list[Row]:
    """The same on a video of noise: one minute, repeated."""
    minute, many = folder / "noise_minute.mp4", folder / "noise.mp4"
    make_noise(minute, seconds=60)
    loop(minute, many, minutes * 60)
    return _against(DECODE, SCENES, many, f"scenes and frames: noise in motion, {minutes:g} min of 720p", repeats)


def agreement(film: Path) -> list[Row]:
    """Cut lists of a whole video, compared with PySceneDetect's OpenCV backend."""
    facts = probe(str(film))
    found = {method: measure(method, film) for method in (STOCK, "exact", "fast")}
    true = found[STOCK]["cuts"]
    rows = []
    for method, done in found.items():
        score = f1(done["cuts"], true, within_s=2 / facts.fps)
        equal = [round(cut, 3) for cut in done["cuts"]] == [round(cut, 3) for cut in true]
        note = f"{len(done['cuts'])} cuts, F1 {score:.4f}, list {'equal' if equal else 'differs'}"
        cost = done["cpu_s"] / (facts.duration_sec / 60)
        rows.append(_row(f"cuts of {film.name}, whole", method, cost, None, note))
    return rows


def clips(film: Path, folder: Path, *, repeats: int) -> list[Row]:
    """Cutting clips of 10 s, by length of the file: the same minute repeated, so that nothing else differs.

    Also the first five minutes of the original.
    """
    minute, five = folder / "minute.mp4", folder / "five.mp4"
    loop(film, minute, 60)
    loop(film, five, 300)
    rows = _against("cut: encode", CUTS, five, f"clips of 10 s, the first 5 minutes of {film.name}", 1)
    for minutes in LENGTHS_MIN:
        path = folder / f"{minutes:g}.mp4"
        loop(minute, path, minutes * 60)
        methods = [*CUTS, REFERENCE if minutes <= LONGEST_REFERENCE_MIN else REFERENCE_PART]
        often = repeats if minutes <= 1 else 1
        rows += _against(
            "cut: exact", methods, path, f"clips of 10 s, a minute {minutes:g} times", often, minutes=minutes
        )
    return rows


def long_file(film: Path, folder: Path, *, minutes: float) -> list[Row]:
    """All exact clips of a long file; the cost per minute should equal that of a short file."""
    five, many = folder / "five.mp4", folder / "many.mp4"
    loop(film, five, 300)
    loop(five, many, minutes * 60)
    rows = []
    for path, length in ((five, 5.0), (many, minutes), (five, 5.0)):
        done = measure("cut: exact", path)
        note = f"peak {done['peak_mb']:.0f} MB"
        rows.append(
            _row("exact clips, 5 minutes and a loop of them", f"{length:g} min", done["cpu_s"] / length, None, note)
        )
    return rows


def memory(film: Path, folder: Path, *, minutes: float) -> list[Row]:
    """Peak memory of the one-pass method on a looped video."""
    rows = []
    for length in (2.0, minutes):
        path = folder / f"{length:g}.mp4"
        loop(film, path, length * 60)
        done = measure("fast + frames", path)
        note = f"peak {done['peak_mb']:.0f} MB"
        rows.append(_row("memory", f"fast + frames, {length:g} min", done["cpu_s"] / length, None, note))
    return rows


def plot(rows: Iterable[Row], path: Path) -> None:
    """Plot the cost per minute over the length of the file, one line per method."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - only here, and slow to import

    figure, axes = plt.subplots(figsize=(7, 4))
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if "minutes" in row:
            method = REFERENCE if row["method"] == REFERENCE_PART else row["method"]
            lines.setdefault(method, []).append((row["minutes"], row["cpu_s_per_min"]))
    for method, points in lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=method.removeprefix("cut: "))
    axes.set(xlabel="length of the file (minutes)", ylabel="CPU seconds per minute of video", yscale="log")
    axes.set_title("Cutting one minute of 720p, over and over, into clips of 10 s", fontsize=11)
    axes.grid(visible=True, alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def measure(method: str, film: Path) -> dict[str, Any]:
    """Run a method in a new process."""
    command = [sys.executable, __file__, "--one", method, str(film)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _against(base: str, methods: Iterable[str], film: Path, section: str, repeats: int, **extra: float) -> list[Row]:
    minutes = probe(str(film)).duration_sec / 60
    runs: dict[str, list[float]] = {method: [] for method in methods}
    peaks = dict.fromkeys(runs, 0.0)
    for _ in range(repeats):
        for method, taken in runs.items():
            done = measure(method, film)
            taken.append(done["cpu_s"] * (PART if method == REFERENCE_PART else 1) / minutes)
            peaks[method] = max(peaks[method], done["peak_mb"])
    medians = {method: statistics.median(taken) for method, taken in runs.items()}
    return [
        _row(
            section,
            method,
            cost,
            cost / medians[base],
            f"peak {peaks[method]:.0f} MB, {min(runs[method]):.2f}-{max(runs[method]):.2f}",
        )
        | {"base": base, **extra}
        for method, cost in medians.items()
    ]


def _row(section: str, method: str, cost: float, ratio: float | None, note: str) -> Row:
    return {"section": section, "method": method, "cpu_s_per_min": cost, "ratio": ratio, "note": note}


def table(rows: Iterable[Row]) -> str:
    """Format rows as a Markdown table."""
    lines = []
    section = ""
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            against = f"against {row['base'].split(' (')[0].removeprefix('cut: ')}" if "base" in row else ""
            lines += ["", f"### {section}", "", f"| method | CPU s/min | {against} | note |", "|---|---|---|---|"]
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(f"| {row['method']} | {row['cpu_s_per_min']:.2f} | {ratio} | {row['note']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", nargs="?", type=Path, help="Big Buck Bunny by default")
    parser.add_argument("--one", metavar="METHOD", help="run one method and print what it took, as JSON")
    parser.add_argument(
        "--only", choices=["scenes", "noise", "agreement", "clips", "long", "memory"], help="one part of it"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120.0, help="how much of the film to time")
    parser.add_argument("--noise-minutes", type=float, default=10.0, help="length of the film of noise")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the long file, for long and memory")
    parser.add_argument("--plot", type=Path, help="where to draw cost against length (PNG)")
    given = parser.parse_args()
    film = given.film or fetch_film()
    if given.one:
        before = resource.getrusage(resource.RUSAGE_SELF)
        cuts = METHODS[given.one](str(film))
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"cpu_s": cpu_s, "peak_mb": after.ru_maxrss / 1024, "cuts": cuts}))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "scenes": lambda: scenes(film, folder, seconds=given.seconds, repeats=given.repeats),
            "noise": lambda: noise(folder, minutes=given.noise_minutes, repeats=given.repeats),
            "agreement": lambda: agreement(film),
            "clips": lambda: clips(film, folder, repeats=given.repeats),
            "long": lambda: long_file(film, folder, minutes=given.minutes),
            "memory": lambda: memory(film, folder, minutes=given.minutes),
        }
        for part in [given.only] if given.only else parts:
            made = parts[part]()
            print(table(made), flush=True)
            rows += made
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()
