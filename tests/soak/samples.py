"""What is looked at every second: each worker from outside and by its own words, and latency."""

from __future__ import annotations

import csv
import http.client
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.integration.supervised import Supervised

_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") // 1024


class Sample(NamedTuple):
    """One worker at `at` seconds of the run."""

    at: float
    worker: int
    pid: int
    memory_kib: int
    descriptors: int
    connections: int
    tunnels: int
    in_flight: int


class Latency(NamedTuple):
    """Of the agents' calls and messages since the look before; `fault` is what was wrong."""

    at: float
    done: int
    lost: int
    p50_ms: float
    p99_ms: float
    fault: str


def look(node: Supervised, at: float, worker: int, pid: int) -> Sample | None:
    """Return nothing where the worker is not there, or is just going or coming."""
    try:
        seen = node.snapshot(worker)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, http.client.HTTPException):
        return None
    if seen["pid"] != pid:
        return None
    counts = (seen["connections"], seen["tunnels"], seen["inFlight"])
    return Sample(at, worker, pid, pages * _PAGE_KIB, descriptors, *counts)


def segments(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Return the samples by process: a worker that was started again begins anew."""
    found: dict[tuple[int, int], list[Sample]] = {}
    for sample in samples:
        found.setdefault((sample.worker, sample.pid), []).append(sample)
    return [found[key] for key in sorted(found, key=lambda key: (key[0], found[key][0].at))]


def write_csv(path: Path, rows: Sequence[NamedTuple]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        if rows:
            writer.writerow(rows[0]._fields)
        writer.writerows(rows)
