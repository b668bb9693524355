"""What finding scenes and taking their frames costs, against decoding alone: ``python benchmarks/scenes.py [FILM]``.

Each measurement is a process of its own, so that caches, threads and memory of one do not count for another; imports
are left out. CPU seconds are user and system time of all its threads. Methods take turns, and medians are shown.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.scoring import f1
from lvqa_ray.demo.film import fetch_film
from lvqa_ray.video.detect import Detection
from lvqa_ray.video.frames import sample_frames
from lvqa_ray.video.probe import probe
from lvqa_ray.video.scenes import detect_scenes
from lvqa_ray.video.shots import Sampling, iter_shots
from lvqa_ray.video.spans import ScenePlan, fixed_spans

Row = dict[str, Any]

SAMPLING = Sampling(count=8, fps=None, short_side=448, quality=85)
PLAN = ScenePlan(max_s=10)
REPEATS = 3


def decode_only(film: str) -> list[float]:
    with av.open(film) as container:
        container.streams.video[0].thread_count = 1
        for _ in container.decode(video=0):
            pass
    return []


def stock(film: str) -> list[float]:
    import scenedetect  # noqa: PLC0415 - only here: the others shall not pay for its readers

    manager = scenedetect.SceneManager()
    manager.add_detector(scenedetect.ContentDetector())
    manager.detect_scenes(scenedetect.open_video(film, backend="opencv"))
    return [start.seconds for start, _ in manager.get_scene_list()][1:]


def exact(film: str) -> list[float]:
    return [scene.start_s for scene in detect_scenes(film, Detection(accuracy="exact"))][1:]


def fast(film: str) -> list[float]:
    return [scene.start_s for scene in detect_scenes(film, Detection(accuracy="fast"))][1:]


def exact_frames(film: str) -> list[float]:
    return _shots(film, Detection(accuracy="exact"))


def fast_frames(film: str) -> list[float]:
    return _shots(film, Detection(accuracy="fast"))


def _shots(film: str, detection: Detection) -> list[float]:
    for shot in iter_shots(film, detection=detection, plan=PLAN, sampling=SAMPLING):
        shot.frames()
    return []


def fixed_frames(film: str) -> list[float]:
    for span in fixed_spans(probe(film).duration_sec, interval_s=PLAN.max_s):
        times = SAMPLING.times(span)
        sample_frames(film, times, short_side=SAMPLING.short_side, quality=SAMPLING.quality)
    return []


METHODS: Mapping[str, Callable[[str], list[float]]] = {
    "decode only (PyAV, one thread)": decode_only,
    "stock PySceneDetect, opencv": stock,
    "exact": exact,
    "fast": fast,
    "exact + frames": exact_frames,
    "fast + frames": fast_frames,
    "fixed + frames, a seek a clip": fixed_frames,
}


def run(film: Path, *, repeats: int = REPEATS, seconds: float = 120.0) -> list[Row]:
    """Measure all methods on the beginning of a film and on noise, and the cut lists on the whole film."""
    with tempfile.TemporaryDirectory() as folder:
        begin, noise = Path(folder) / "begin.mp4", Path(folder) / "noise.mp4"
        loop(film, begin, seconds)
        make_noise(noise, seconds=30)
        rows = [
            *_costs(begin, f"{film.name}, first {seconds:g} s", repeats),
            *_costs(noise, "noise in motion, 30 s of 720p", repeats),
        ]
    return rows + _agreement(film)


def memory(film: Path, *, minutes: float) -> list[Row]:
    """Peak memory of the one-pass method on the film, and on the film in a loop of so many minutes."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in (2.0, minutes):
            path = Path(folder) / f"{length:g}.mp4"
            loop(film, path, length * 60)
            done = measure("fast + frames", path)
            rows.append(
                _row("scenes: memory", f"fast + frames, {length:g} min", done["cpu_s"] / length, None)
                | {"peak_mb": round(done["peak_mb"]), "note": f"peak {done['peak_mb']:.0f} MB"}
            )
    return rows


def _costs(film: Path, section: str, repeats: int) -> list[Row]:
    minutes = probe(str(film)).duration_sec / 60
    runs: dict[str, list[float]] = {method: [] for method in METHODS}
    peaks: dict[str, float] = {}
    for _ in range(repeats):
        for method, taken in runs.items():
            done = measure(method, film)
            taken.append(done["cpu_s"] / minutes)
            peaks[method] = max(peaks.get(method, 0), done["peak_mb"])
    medians = {method: statistics.median(taken) for method, taken in runs.items()}
    base = medians[next(iter(METHODS))]
    return [
        _row(f"scenes: {section}", method, cost, cost / base)
        | {"note": f"peak {peaks[method]:.0f} MB, {min(runs[method]):.2f}-{max(runs[method]):.2f}"}
        for method, cost in medians.items()
    ]


def _agreement(film: Path) -> list[Row]:
    facts = probe(str(film))
    found = {method: measure(method, film) for method in ("stock PySceneDetect, opencv", "exact", "fast")}
    true = found["stock PySceneDetect, opencv"]["cuts"]
    rows = []
    for method, done in found.items():
        score = f1(done["cuts"], true, within_s=2 / facts.fps)
        equal = [round(cut, 3) for cut in done["cuts"]] == [round(cut, 3) for cut in true]
        note = f"{len(done['cuts'])} cuts, F1 {score:.4f}, list {'equal' if equal else 'differs'}"
        rows.append(
            _row(f"scenes: cuts of {film.name}, whole", method, done["cpu_s"] / (facts.duration_sec / 60), None)
            | {"note": note, "f1": score, "equal": equal}
        )
    return rows


def measure(method: str, film: Path) -> dict[str, Any]:
    """Run a method in a process of its own."""
    command = [sys.executable, __file__, "--one", method, str(film)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def loop(film: Path, path: Path, seconds: float) -> None:
    """Copy a film's picture packets over and over until there are so many seconds of them."""
    with av.open(str(path), "w") as output:
        copied = None
        offset = 0
        while True:
            with av.open(str(film)) as source:
                stream = source.streams.video[0]
                copied = copied or output.add_stream_from_template(stream)
                base = Fraction(stream.time_base or 1)
                end = offset
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    if (packet.dts + offset) * base >= seconds:
                        return
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.stream = copied
                    output.mux(packet)
                offset = end


def make_noise(path: Path, *, seconds: float, fps: int = 25, size: tuple[int, int] = (1280, 720)) -> None:
    """Write scenes of 1 to 9 s that are hard on everybody: coarse noise in motion under fine noise."""
    random = np.random.default_rng(1)
    lengths = iter(random.integers(fps, 9 * fps, 1000))
    left = 0
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        grain = random.integers(-12, 13, (2 * size[1], 2 * size[0], 1), np.int16)
        for index in range(round(seconds * fps)):
            if left == 0:
                left = int(next(lengths))
                blocks = random.integers(30, 220, (12, 30, 3), np.int16)
                scene = blocks.repeat(80, axis=0).repeat(80, axis=1)
            left -= 1
            x, y = random.integers(0, size[0]), random.integers(0, size[1])
            shift = index % 200 * 2
            picture = scene[100 : 100 + size[1], shift : shift + size[0]] + grain[y : y + size[1], x : x + size[0]]
            frame = VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _row(section: str, method: str, cost: float, ratio: float | None) -> Row:
    return {
        "section": section,
        "method": method,
        "cpu_s_per_min": round(cost, 2),
        "ratio_to_decode": None if ratio is None else round(ratio, 2),
        "note": "",
    }


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = []
    section = ""
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            lines += ["", f"### {section}", "", "| method | CPU s/min | against decoding | note |", "|---|---|---|---|"]
        ratio = "" if row["ratio_to_decode"] is None else f"{row['ratio_to_decode']:.2f}"
        lines.append(f"| {row['method']} | {row['cpu_s_per_min']:.2f} | {ratio} | {row['note']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", nargs="?", type=Path, help="Big Buck Bunny by default")
    parser.add_argument("--one", metavar="METHOD", help="run one method and print what it took, as JSON")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--seconds", type=float, default=120.0, help="how much of the film to time")
    parser.add_argument("--memory", type=float, metavar="MINUTES", help="only measure the peak memory on such a length")
    given = parser.parse_args()
    film = given.film or fetch_film()
    if given.one:
        before = resource.getrusage(resource.RUSAGE_SELF)
        cuts = METHODS[given.one](str(film))
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"cpu_s": cpu_s, "peak_mb": after.ru_maxrss / 1024, "cuts": cuts}))
    elif given.memory:
        print(table(memory(film, minutes=given.memory)))
    else:
        print(table(run(film, repeats=given.repeats, seconds=given.seconds)))


if __name__ == "__main__":
    main()
