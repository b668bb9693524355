"""Bookkeeping cost of a large corpus: ``python benchmarks/scale.py --plan [--videos N] [--done N]``.

``--again`` makes an output with all N videos done, and measures ``lvqa run``, which has nothing to do.

``--count N`` makes an output of N times 1,000 videos with 3,200 records, and measures its statistics.

``--list`` lists a prefix of N objects, page by page, from a server that only has their names.

``--plan`` makes a corpus of N empty files with a manifest, and an output with most of them done, and measures the
planning of a rerun, settling and verifying. Each measurement runs in its own process; memory is the peak RSS.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fakes.listed import ListedBucket
from tests.report.made import make_output as made_output
from tests.report.made import many

Row = dict[str, Any]
PER_FOLDER = 1000
PER_SHARD = 20_000
FAILED_EVERY = 50
HEAD = "| step | part | seconds | CPU s | peak MB |\n|---|---|---|---|---|"
CAPTIONS = "From 0 to 10, a person walks along a street and looks at the windows of a shop. " * 25
"""2 KB per record: enough that reading all of them into memory would show."""


def make_corpus(folder: Path, videos: int) -> Path:
    """Make files that contain their number, 1,000 per folder, and a manifest of all of them."""
    manifest = folder / "manifest.jsonl"
    with manifest.open("w") as file:
        for number in range(videos):
            path = folder / "films" / f"{number // PER_FOLDER:04d}" / f"film{number:07d}.mp4"
            if number % PER_FOLDER == 0:
                path.parent.mkdir(parents=True)
            path.write_text(str(number))
            file.write(json.dumps({"video": str(path)}) + "\n")
    return manifest


def make_output(folder: Path, manifest: Path, *, done: int, clips: int, job_hash: str) -> None:
    """Make an output in which the first videos of a manifest are done; one in fifty failed."""
    from lvqa_ray.corpus.manifest import read_manifest  # noqa: PLC0415
    from lvqa_ray.dataset.identities import Identities  # noqa: PLC0415
    from lvqa_ray.dataset.outcomes import OUTCOME  # noqa: PLC0415
    from lvqa_ray.dataset.shards import write_shard  # noqa: PLC0415
    from lvqa_ray.records import Video  # noqa: PLC0415
    from lvqa_ray.storage.options import StorageOptions  # noqa: PLC0415

    nothing = Video(id="", uri="", fingerprint="").input_hash
    provenance = {"job_hash": job_hash, "run_id": "20260101T000000000000Z", "input_hash": nothing}
    identities = Identities(folder, OUTCOME.empty_table())
    prints = identities.identify(read_manifest([str(manifest)], done), StorageOptions.here()).fingerprints.to_pylist()
    folder.mkdir()
    identities.store()
    with manifest.open() as file:
        for shard, start in enumerate(range(0, done, PER_SHARD)):
            origins = []
            for number in range(start, min(start + PER_SHARD, done)):
                uri = json.loads(file.readline())["video"]
                origins.append({"id": Path(uri).stem, "video": uri, "fingerprint": prints[number]} | provenance)
            good = [row for number, row in enumerate(origins, start) if number % FAILED_EVERY]
            bad = [row for number, row in enumerate(origins, start) if not number % FAILED_EVERY]
            about = {"captions": CAPTIONS, "num_clips": clips, "gaps": []}
            write_shard(folder, "data", f"s{shard:05d}", [row | about | {"video_id": row["id"]} for row in good])
            fault = {"stage": "probe", "kind": "empty_file", "retryable": False, "message": "is empty."}
            write_shard(folder, "failures", f"s{shard:05d}", [row | fault for row in bad])
            parts = (
                row | {"id": f"{row['id']}_{index}", "video_id": row["id"], "index": index, "caption": "A street."}
                for row in good
                for index in range(clips)
            )
            write_shard(folder, "clips", f"s{shard:05d}", parts)


def job_of(folder: Path) -> Any:  # noqa: ANN401 - a Job, imported late
    from lvqa_ray.config import Job  # noqa: PLC0415

    at = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    sources = [str(folder / "manifest.jsonl")]
    return Job.of({"videos": sources, "output": str(folder / "out"), "endpoints": {"vlm": at, "llm": at}})


def step_import(folder: Path) -> Iterator[str]:
    """Baseline: imports only."""
    import lvqa_ray.engine.run  # noqa: F401, PLC0415

    job_of(folder)
    yield "imports"


def step_plan(folder: Path) -> Iterator[str]:
    import lvqa_ray.engine.run  # noqa: F401, PLC0415
    from lvqa_ray.corpus.manifest import read_manifest  # noqa: PLC0415
    from lvqa_ray.dataset.identities import Identities  # noqa: PLC0415
    from lvqa_ray.dataset.outcomes import outcomes  # noqa: PLC0415
    from lvqa_ray.dataset.resume import remaining  # noqa: PLC0415
    from lvqa_ray.dataset.stored_manifest import store_manifest, with_stable_ids  # noqa: PLC0415
    from lvqa_ray.storage.options import StorageOptions  # noqa: PLC0415

    job = job_of(folder)
    yield "imports"
    videos = read_manifest(job.videos, job.limit, without=Path(job.output))
    yield f"read_manifest: {len(videos)} videos"
    done = outcomes(Path(job.output))
    yield f"outcomes: {len(done)}"
    videos = Identities(Path(job.output), done).identify(videos, StorageOptions.here())
    yield "identify"
    videos = with_stable_ids(videos, done, Path(job.output))
    yield "with_stable_ids"
    todo = remaining(videos, done, job.job_hash)
    yield f"remaining: {len(todo.videos)}"
    store_manifest(Path(job.output), videos, job.job_hash)
    yield "store_manifest"


def step_list(folder: Path) -> Iterator[str]:
    """List a prefix; ``folder`` is the URL of a server."""
    from lvqa_ray.corpus.manifest import read_manifest  # noqa: PLC0415
    from lvqa_ray.storage.options import StorageOptions  # noqa: PLC0415
    from lvqa_ray.storage.remote import list_files  # noqa: PLC0415

    access = StorageOptions(str(folder).replace(":/", "://"), path_style=True, key="id", secret="none")  # noqa: S106
    yield "imports"
    yield f"listing: {sum(1 for _ in list_files('s3://corpus/films', access))} objects"
    yield f"read_manifest: {len(read_manifest(['s3://corpus/films/'], access=access))} videos"


def step_settle(folder: Path) -> Iterator[str]:
    import lvqa_ray.engine.run  # noqa: F401, PLC0415
    from lvqa_ray.dataset.compaction import compact_shards  # noqa: PLC0415

    yield "imports"
    compact_shards(folder / "out", "20260102T000000000000Z", PER_SHARD)
    yield "settle"


def step_verify(folder: Path) -> Iterator[str]:
    import lvqa_ray.engine.run  # noqa: F401, PLC0415
    from lvqa_ray.dataset.verify import verify  # noqa: PLC0415

    yield "imports"
    yield verify(folder / "out", since=time.time()).line
    yield "shards whole: " + verify(folder / "out").line


def step_count(folder: Path) -> Iterator[str]:
    import lvqa_ray.engine.run  # noqa: F401, PLC0415
    from lvqa_ray.dataset.reader import OutputReader  # noqa: PLC0415
    from lvqa_ray.dataset.statistics.output_statistics import count  # noqa: PLC0415

    yield "imports"
    counted = count(OutputReader(folder / "out"))
    yield f"count: {counted.questions.kept:,} records, {len(counted.clip_seconds):,} clips"


STEPS: dict[str, Callable[[Path], Iterator[str]]] = {
    "import": step_import,
    "plan": step_plan,
    "settle": step_settle,
    "verify": step_verify,
}
ALONE = {"list": step_list, "count": step_count}
"""Steps measured on their own data."""


def show(row: Row) -> None:
    print(
        f"| {row['step']} | {row['part']} | {row['seconds']:.1f} | {row['cpu_s']:.1f} | {row['peak_mb']} |", flush=True
    )


def measure(step: str, folder: Path) -> list[Row]:
    """Run a step in this process; returns the time of each part, and the peak memory so far."""
    rows = []
    began, cpu_began = time.perf_counter(), time.process_time()
    for said in (STEPS | ALONE)[step](folder):
        now, cpu = time.perf_counter(), time.process_time()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = {"step": step, "part": said, "seconds": now - began, "cpu_s": cpu - cpu_began, "peak_mb": round(peak)}
        rows.append(row)
        began, cpu_began = now, cpu
    return rows


def again(folder: Path) -> None:
    """Run a finished job with the command line, without a report, since the output is synthetic."""
    from lvqa_ray.dataset.run_state import write_run  # noqa: PLC0415

    write_run(folder / "out", job_of(folder), {}, finished=True)
    path = folder / "job.yaml"
    path.write_text(json.dumps(job_of(folder).model_dump(mode="json")))
    command = [sys.executable, "-c", "from lvqa_ray.cli import main; main()", "run", str(path), "--no-report"]
    print("| run | exit status | seconds | CPU s | peak MB |\n|---|---|---|---|---|")
    for number in range(1, 4):
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        status = subprocess.run(command, check=False, stdout=subprocess.PIPE).returncode
        seconds, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime
        print(f"| {number} | {status} | {seconds:.1f} | {cpu_s:.1f} | {now.ru_maxrss // 1024} |", flush=True)


def in_a_process(step: str, folder: Path) -> list[Row]:
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{step}: {found.stderr[-3000:]}")
    rows: list[Row] = json.loads(found.stdout.splitlines()[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", action="store_true", help="planning a rerun, settling and verifying")
    parser.add_argument("--again", action="store_true", help="a run that has nothing to do")
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--done", type=int, default=900_000)
    parser.add_argument("--clips", type=int, default=3, help="clips of each video in the output")
    parser.add_argument("--folder", type=Path, help="where the corpus is made, or is already")
    parser.add_argument("--list", action="store_true", help="listing a prefix of a bucket")
    parser.add_argument("--count", type=int, help="counting an output of so many times 1,000 videos")
    parser.add_argument("--step", choices=(*STEPS, *ALONE))
    given = parser.parse_args()
    if given.list:
        print(HEAD)
        with ListedBucket(given.videos) as bucket:
            for row in in_a_process("list", Path(bucket.url)):
                show(row)
        return
    if given.count:
        print(HEAD)
        with tempfile.TemporaryDirectory() as temporary:
            many(made_output(Path(temporary) / "out", 1000), given.count)
            for row in in_a_process("count", Path(temporary)):
                show(row)
        return
    if given.step:
        print(json.dumps(measure(given.step, given.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "out").exists():
            began = time.perf_counter()
            manifest = make_corpus(folder, given.videos)
            done = given.videos if given.again else given.done
            make_output(folder / "out", manifest, done=done, clips=given.clips, job_hash=job_of(folder).job_hash)
            print(f"made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        if given.again:
            again(folder)
            return
        print(HEAD)
        for step in STEPS:
            for row in in_a_process(step, folder):
                show(row)


if __name__ == "__main__":
    main()
