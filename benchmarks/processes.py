"""CPU seconds and resident memory of a run's processes by kind, and the time of its first record."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from benchmarks.watcher import Watcher
from tests.storm.storm import below


class Watch(Watcher):
    """Samples the output folder and the memory of the processes during a run.

    Attributes:
        first_record: Time of the first record (s since 1970).
        memory: Resident memory (MB) with its time (s since 1970) by kind of process, of the largest one.
        cpu_s: CPU seconds by process.
    """

    WHO: ClassVar = {
        "asking": "FlatMap(VideoChatActor)",
        "assembler": "FlatMap(ClipAssembler)",
        "rate_limiter": "ray::RateLimiterActor",
        "chat": "FlatMap(ChatActor)",
    }

    def __init__(self, folder: Path) -> None:
        self.first_record = float("inf")
        self.memory: dict[str, list[tuple[float, float]]] = {"driver": [], **{name: [] for name in self.WHO}}
        self.cpu_s: dict[int, float] = {}
        self.titles: dict[int, str] = {}
        self.own_s = 0.0
        self._folder = folder
        super().__init__(every_s=1.0)

    def look(self) -> None:
        """See `Watcher`."""
        self._look()
        self.own_s = time.thread_time()  # the thread does nothing else

    def _look(self) -> None:
        with suppress(OSError):  # shards are joined at the end
            if self.first_record == float("inf"):
                shards = (self._folder / "data").glob("*.parquet")
                self.first_record = min((shard.stat().st_mtime for shard in shards), default=self.first_record)
        titles = below(os.getpid())
        self.cpu_s |= {pid: spent for pid in titles if (spent := cpu_s(pid))}
        self.titles |= {pid: title for pid, title in titles.items() if title.split() and "IDLE" not in title}
        self.titles = titles | self.titles
        now = time.time()
        self.memory["driver"].append((now, resident_mb(os.getpid())))
        for name, title in self.WHO.items():
            found = [resident_mb(pid) for pid, is_ in titles.items() if title in is_]
            if found:
                self.memory[name].append((now, max(found)))

    @property
    def by_process(self) -> dict[str, float]:
        """CPU seconds and number of processes by kind."""
        by: dict[str, list[float]] = {}
        for pid, spent in self.cpu_s.items():
            words = [Path(word).name for word in self.titles[pid].split() if word[0] != "-"]
            by.setdefault(" ".join(words[:2]), []).append(spent)
        largest = sorted(by.items(), key=lambda item: -sum(item[1]))
        return {f"{name} ({len(spent)})": round(sum(spent), 1) for name, spent in largest}


def resident_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def cpu_s(pid: int) -> float:
    """User and system CPU seconds of a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
