"""Whoever does not read a log stops nobody; what is lost is counted, and said afterwards."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from proxy import logs
from proxy.outlet import Outlet

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read_all(fd: int) -> bytes:
    os.set_blocking(fd, False)
    pieces = []
    try:
        while piece := os.read(fd, 1 << 20):
            pieces.append(piece)
    except BlockingIOError:
        pass
    return b"".join(pieces)


def test_a_reader_that_comes_back_gets_all_that_was_kept_in_order(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    outlet = Outlet(sink, most_bytes=200_000)
    lines = [b"%099d\n" % number for number in range(2500)]  # 64 KiB in the pipe, the rest here
    for line in lines:
        outlet.write(line)
    assert not outlet.flush()
    got = b""
    while not outlet.flush():
        got += read_all(source)
    assert got + read_all(source) == b"".join(lines)
    assert outlet.lost == 0 and outlet.untold() == 0


def test_what_is_too_much_is_dropped_by_whole_lines_and_counted(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    outlet = Outlet(sink, most_bytes=10_000)
    for _ in range(2000):
        outlet.write(LINE * 2)
    assert outlet.lost > 3000
    assert outlet.untold() == 0, "not yet: nobody could read it"
    got = b""
    while not outlet.flush():
        got += read_all(source)
    got += read_all(source)
    assert got == LINE * (4000 - outlet.lost), "no line was cut"
    assert outlet.untold() == outlet.lost
    assert outlet.untold() == 0, "said once"
    outlet.write(LINE)
    assert read_all(source) == LINE


def test_a_full_disk_is_counted() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        outlet = Outlet(full)
        outlet.write(LINE * 3)
        assert outlet.lost == 3 and outlet.untold() == 3
    finally:
        os.close(full)


def test_events_that_nobody_read_are_counted_in_the_log_itself(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, sink = pipe
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setattr(logs, "_STDERR", sink)
    try:
        root.handlers[:] = []
        logs.start("info", "plain", 0)
        log = logging.getLogger("proxy.test")
        for _ in range(6000):
            log.info("y" * 1000)
        logs.start("info", "json", 0)  # a reload forgets nothing
        got = b""
        while b"lines of this log were lost" not in got:
            logs.flush()
            got += read_all(source)
        last = got.splitlines()[-1]
        lost = int(last.split(b" lines of this log were lost")[0].rpartition(b'"')[2])
        assert got.count(b"yyy") and lost == 6000 - (got.count(b"\n") - 1)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
