"""Logs of supervisord whose rotation fails: they go on, stay bounded, and rotate when they can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from supervisor import loggers

from proxy import rotation

LINE = b"x" * 39 + b"\n"
MOST = 100


@pytest.fixture
def patched() -> Iterator[None]:
    before = loggers.RotatingFileHandler.doRollover
    rotation.outlive(object())
    yield
    loggers.RotatingFileHandler.doRollover = before


@pytest.fixture
def log(tmp_path: Path, patched: None) -> Iterator[Any]:
    """A log of 100 bytes with two files before it; supervisor has no types."""
    (tmp_path / "log").mkdir()
    logger = loggers.Logger()
    path = tmp_path / "log" / "a.log"
    loggers.handle_file(logger, str(path), "%(message)s", rotating=True, maxbytes=MOST, backups=2)
    yield logger
    logger.close()


def files(tmp_path: Path) -> dict[str, int]:
    """Return how many lines each file of the log has."""
    there = (tmp_path / "log").glob("a.log*")
    return {one.name: one.read_bytes().count(b"\n") for one in there if one.is_file()}


def test_it_rotates_as_supervisor_does(tmp_path: Path, log: Any) -> None:
    for _ in range(10):
        log.info(LINE)
    assert files(tmp_path) == {"a.log": 1, "a.log.1": 3, "a.log.2": 3}


def test_one_that_cannot_be_renamed_begins_anew_and_rotates_when_it_can(
    tmp_path: Path, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing leaves: supervisord would never read that process again."""
    obstacle = tmp_path / "log" / "a.log.2"
    (obstacle / "deep").mkdir(parents=True)
    for _ in range(8):
        log.info(LINE)
    said = capsys.readouterr().err
    assert said.count("a.log cannot be rotated: Is a directory; it begins anew") == 1
    assert files(tmp_path) == {"a.log": 2, "a.log.1": 3}
    assert (tmp_path / "log" / "a.log").stat().st_size <= MOST
    os.rmdir(obstacle / "deep")
    os.rmdir(obstacle)
    log.info(LINE)
    assert files(tmp_path) == {"a.log": 0, "a.log.1": 3, "a.log.2": 3}


def test_one_whose_directory_is_gone_stays_bounded_and_comes_back_with_it(
    tmp_path: Path, log: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").rename(tmp_path / "moved")
    for _ in range(7):
        log.info(LINE)
    assert "No such file or directory" in capsys.readouterr().err
    assert (tmp_path / "moved" / "a.log").stat().st_size == len(LINE)
    (tmp_path / "log").mkdir()
    for _ in range(3):
        log.info(LINE)
    assert files(tmp_path) == {"a.log": 1}
