"""Parallel scene detection in one video, whole and in parts: ``python benchmarks/parts.py FILM [PART_S]``.

Measures CPU seconds in this process, and derives the time of the busiest core for several numbers of cores.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lvqa_ray.records import ProbedVideo, Video
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.scenes.clip_builder import FrameSampling, iter_clips
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.parallel import find_parts, score_part
from lvqa_ray.video.scenes.parallel_join import JoinedParts
from lvqa_ray.video.spans import ScenePlan

PART_S = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
Row = dict[str, Any]


def film(path: str) -> Row:
    """CPU seconds of one real video in scenes mode, with its frames: in one piece, and in parts that are joined."""
    detection, plan = Detection(), ScenePlan(max_s=10.0)
    sampling = FrameSampling(count=8, fps=None, short_side=448, quality=85)
    row = ProbedVideo(video=Video(id="film", uri=path, fingerprint="f"), info=probe(path))
    clock = time.process_time
    begun = clock()
    whole = [(shot.span, shot.frames()) for shot in iter_clips(path, detection=detection, plan=plan, sampling=sampling)]
    whole_s = clock() - begun
    parts, joining, parts_s, joining_s = [], JoinedParts(detection, plan, sampling), [], 0.0
    for part in find_parts(row, PART_S):
        begun = clock()
        looked = score_part(part, detection=detection, plan=plan, sampling=sampling)
        parts_s.append(clock() - begun)
        begun = clock()
        parts += joining.add(looked)
        joining_s += clock() - begun
    parts += joining.finish()
    lacking, again_s = 0, 0.0
    for number, (span, frames) in enumerate(parts):
        if not all(frame.jpeg for frame in frames):
            begun = clock()
            times = [frame.time_s for frame in frames]
            parts[number] = span, tuple(sample_frames(path, times, short_side=448, quality=85))
            again_s, lacking = again_s + clock() - begun, lacking + 1
    seconds = {"whole_s": whole_s, "parts_s": parts_s, "joining_s": joining_s, "again_s": again_s}
    return {"clips": len(whole), "lacking": lacking, "same": parts == whole, "frames": row.info.num_frames} | seconds


def show_film(path: str) -> None:
    row = film(path)
    if not row["parts_s"]:
        raise SystemExit("that film is too short for parts of a minute")
    same = "the same to the byte" if row["same"] else "NOT THE SAME"
    print(f"{row['frames']} frames, {row['clips']} clips with pictures: {same}; {row['lacking']} decoded once more\n")
    print("| | CPU s |\n|---|---|")
    print(f"| in one piece | {row['whole_s']:.1f} |")
    print(f"| in {len(row['parts_s'])} parts, together | {sum(row['parts_s']):.1f} |")
    print(f"| the longest part | {max(row['parts_s']):.1f} |")
    print(f"| joining them | {row['joining_s']:.1f} |")
    print(f"| pictures that no part had | {row['again_s']:.1f} |\n")
    print("| cores | busiest core, CPU s | of one piece |\n|---|---|---|")
    for cores in (1, 2, 4, 8):
        busy = [0.0] * cores
        for seconds in row["parts_s"]:  # each core takes the next part when it is free
            busy[busy.index(min(busy))] += seconds
        longest = max(busy) + row["again_s"] / cores + row["joining_s"]
        print(f"| {cores} | {longest:.1f} | {row['whole_s'] / longest:.2f} |")


if __name__ == "__main__":
    show_film(sys.argv[1])
