"""Cases of terminals: job control, untrusted escape sequences, output, and which processes get secrets."""

from __future__ import annotations

import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from lvqa_ray.cli.display.summaries import print_questions
from lvqa_ray.engine.secrets import decoder_environment
from tests import media
from tests.cases import Row, case
from tests.command import lvqa
from tests.dataset.test_resume import line, put
from tests.dataset.test_verify import whole
from tests.fakes.endpoint import FakeEndpoint
from tests.terminal import Shell

EVIL = "a\x1b]0;title\x07\x1b[2J\x1b[31m\x9b1A\u202egpj.\u2066\u200b\r\x7f[bold]:cat:\U000e0041z"
"""A name that sets the title, clears the screen, reverses the text, and contains rich markup."""


def controls(text: str) -> str:
    """Control characters of a text."""
    kept = "\n\t\u200c\u200d"
    found = {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one not in kept}
    return " ".join(sorted(f"{ord(one):x}" for one in found))


@case("30", "an import runs no program")
def imports_run_no_program(folder: Path) -> Iterator[Row]:
    """Imports start no program; Python's audit hook would see it."""
    code = (
        "import sys, pkgutil, importlib\n"
        "seen = []\n"
        "programs = ('subprocess.Popen', 'os.exec', 'os.posix_spawn', 'os.system', 'os.fork', 'pty.spawn')\n"
        "sys.addaudithook(lambda event, args: seen.append((event, str(args)[:80])) if event in programs else None)\n"
        "import lvqa_ray\n"
        "for module in pkgutil.walk_packages(lvqa_ray.__path__, 'lvqa_ray.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(seen)\n"
        "import scenedetect\n"
        "from scenedetect import ContentDetector, open_video\n"
        "import lvqa_ray.video.scenes.scored_detectors as ours\n"
        "print(ContentDetector is ours.ContentDetector, scenedetect.detectors.ContentDetector is ContentDetector)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    ran, same = [*said.stdout.splitlines(), said.stderr[-200:], ""][:2]
    yield "every module of the package", "[]", ran
    yield "scenedetect for everybody else", "True True", same


@case("31", "escape sequences are text")
def escape_sequences_are_text(folder: Path) -> Iterator[Row]:
    """Escape sequences in ids, file names, kinds, models, replies and errors, for every reading command and a run."""
    out = folder / EVIL.replace("/", "")
    hostile_output(out)
    films = folder / "films"
    films.mkdir()
    film = media.make_video(films / f"{EVIL.replace('/', '')}.mp4", seconds=1)
    with FakeEndpoint() as fake:
        at = {"base_url": fake.base_url, "model": "fake-vlm", "api_key_env": None}
        job: dict[str, Any] = {"videos": [str(films)], "output": str(folder / "new"), "endpoints": {"vlm": at}}
        job["endpoints"]["llm"] = at
        direct = ["--base-url", fake.base_url, "--vlm-model", "m", "--llm-model", "m"]
        good, bad = folder / "job.yaml", folder / "bad.yaml"
        good.write_text(yaml.safe_dump(job))
        bad.write_text(yaml.safe_dump(job | {EVIL: 1}))
        for words in (
            ["failures", out],
            ["failures", out, "--kind", "refused"],
            ["failures", out, "--json"],
            ["failures", out, "--kind", EVIL],
            ["audit", out],
            ["audit", out, "--json"],
            ["verify", out],
            ["verify", out, "--json"],
            ["cache", "stats", out],
            ["cache", "stats", out, "--json"],
            ["cache", "clear", out, "--yes"],
            ["export", out, "--format", EVIL],
            ["plan", good],
            ["plan", good, "--json"],
            ["estimate", good],
            ["estimate", bad],
            ["check", good],
            ["check", good, "--json"],
            ["run", folder / f"none{EVIL}.mp4", "--out", folder / EVIL, *direct],
            ["run", good, "--set", f"{EVIL}=1"],
            ["run", f"{EVIL}.yaml"],
            ["preview", good, "--set", f"endpoints.vlm.model={EVIL}"],
            ["analyze", folder / f"none{EVIL}.mp4", "--job", good],
            ["analyze", film, "--job", good, "--task-id", EVIL],
            ["serve", folder / f"{EVIL}.yaml"],
            [EVIL],
        ):
            done = lvqa(*words)
            name = " ".join("NAME" if EVIL in str(word) else Path(str(word)).name for word in words)
            yield name, ("", True), (controls(done.stdout + done.stderr), bool(done.stdout + done.stderr))
    alone, shown = folder / "questions", StringIO()
    put(alone, "data", "evil", hostile_record())
    with redirect_stdout(shown), redirect_stderr(shown):
        print_questions(alone, str(alone))
    yield "the questions of a preview", "", controls(shown.getvalue())
    yield "the mark of the answer", True, "* A. yes" in shown.getvalue() and "Answer: A" in shown.getvalue()


def hostile_output(out: Path) -> None:
    """Make an output whose names and texts contain escape sequences."""
    whole(out)
    put(out, "failures", "b", line(EVIL, 0, kind="refused", stage="ask", attempts=1, message=f"{EVIL}\n{EVIL}"))
    put(out, "data", "evil", hostile_record())
    (out / "cache").mkdir(exist_ok=True)
    entry = f'{{"key": "{0:064x}", "text": "x", "model": "m\\u001b[31m", "input_tokens": 1, "output_tokens": 1}}\n'
    (out / "cache" / f"caption-{EVIL}_w.jsonl").write_text(entry)


def hostile_record() -> dict[str, Any]:
    """Make a record whose names and texts contain escape sequences."""
    parsed = {
        "QUESTION": f"Why? {EVIL}",
        "OPTIONS": {"A": "yes", "B": EVIL, "C": "c", "D": "d"},
        "ANSWER": "A",
        "REASONS": [{"start_s": 0.0, "end_s": 1.0, "reasons": [EVIL]}],
    }
    return line(f"q{EVIL}", 0, video=EVIL, category=EVIL, num_clips=1, parsed_reasoning=parsed)


@case("32", "secrets in environments")
def decoders_get_no_secrets(folder: Path) -> Iterator[Row]:
    """An allowlist of environment variables, so that the name of a key does not matter."""
    secret = [
        "OPENAI_API_KEY",
        "DASHSCOPE_API_KEY",
        "MY_GATEWAY",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "HF_TOKEN",
        "GITHUB_TOKEN",
        "LVQA_TOKEN",
        "DATABASE_URL",
        "https_proxy",
        "CUDA_AUTH_TOKEN",
        "PYTHON_KEYRING_PASSWORD",
    ]
    needed = ["PATH", "HOME", "LD_LIBRARY_PATH", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"]
    given = dict.fromkeys([*secret, *needed], "value")
    yield "environment of a decoder", sorted(needed), sorted(decoder_environment(given))


@case("33", "a run in an interactive terminal")
def a_run_in_a_terminal(folder: Path) -> Iterator[Row]:
    """Job control: a background job of `bash -i` is foregrounded, stopped, continued, and loses its terminal.

    Its endpoint does not answer for so long that the panel must say so.
    """
    media.make_video(folder / "a.mp4", seconds=2, scenes=(1.0,))
    options = "--vlm-model fake-vlm --llm-model fake-llm --api-key-env NO_NAME_OF_A_KEY --no-report"
    with FakeEndpoint(latency_s=60.0) as fake, Shell(folder, NO_NAME_OF_A_KEY="k" * 20, ANY_API_KEY="x") as shell:
        shell.run("stty tostop")
        before = shell.type(
            f"lvqa run a.mp4 --out out --base-url {fake.base_url} {options} --set engine.num_cpus=2 "
            f"--set sample.count=2 --set 'ask.quota={{goal: 1}}' &"
        )
        began = time.monotonic()
        while not fake.in_flight and not shell.stopped() and time.monotonic() - began < 200:
            time.sleep(0.2)
        yield "in the background: a request is under way", True, fake.in_flight > 0
        yield "in the background: stopped processes", [], shell.stopped()
        yield "ffmpeg was run", False, shell.probed.exists()
        yield "processes with the terminal", ["lvqa"], with_terminal(shell)
        yield "processes with a key", ["lvqa"], with_keys(shell)
        before = shell.type("fg")
        waits = r"no progress for [0-9:]+; waiting for replies to requests in flight: 1 to fake-vlm"
        yield "in the foreground: the panel says what it waits for", True, shell.wait_for(waits, 90, since=before)
        before = shell.type("\x1a", enter=False)
        yield "Ctrl-Z stops it", True, shell.wait_for("Stopped", 20, since=before)
        shell.type("fg")
        yield "fg continues it", True, shell.wait_for("lvqa: .*captions", 20, since=before)
        fake.latency_s = 0.0
        yield (
            "nothing of Ray's on the screen",
            False,
            any(word in shell.shown for word in ("logging.cc", "local Ray", "ray::", "job logs")),
        )
        shell.close()
        yield "processes left 100 s after the terminal is closed", True, shell.gone_within(100)
        yield "an answer that was under way is kept", 1, journal_lines(folder / "out" / "cache")


def with_terminal(shell: Shell) -> list[str]:
    """Processes with a controlling terminal, except the shell."""
    found = []
    for pid in shell.processes():
        try:
            if int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4]) and pid != shell.pid:
                found.append(kind_of(pid))
        except OSError:
            continue
    return found


def with_keys(shell: Shell) -> list[str]:
    """Processes with a key in their environment, except the shell."""
    found = []
    for pid in shell.processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if pid != shell.pid and (b"NO_NAME_OF_A_KEY=" in environment or b"ANY_API_KEY=" in environment):
            found.append(kind_of(pid))
    return found


def kind_of(pid: int) -> str:
    """One-word kind of a process."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return "lvqa" if "from lvqa_ray.cli import main" in words else words[:60]


def journal_lines(journal: Path) -> int:
    """Number of paid captions in a journal."""
    return sum(len(path.read_text().splitlines()) for path in journal.glob("caption-*.jsonl"))


@case("34", "output that nobody reads")
def output_that_nobody_reads(folder: Path) -> Iterator[Row]:
    """Broken pipes, and closed standard files."""
    code = f"exec '{sys.executable}' -c 'from lvqa_ray.cli import main; main()'"
    for name, words, status in (
        ("schema | true", f"({code} schema; echo $? >&2) | true", "1"),
        ("schema, stdout closed", f"({code} schema >&-; echo $?)", "0"),
        ("schema, all closed", f"({code} schema <&- >&- 2>&-); echo $?", "0"),
    ):
        said = subprocess.run(["bash", "-c", words.replace("exec ", "")], capture_output=True, text=True, check=False)
        yield name, (status, False), (said.stdout.strip() or said.stderr.strip(), "Traceback" in said.stderr)
