"""`make soak` for a short time: the same code, and whether it fails when it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.fault_relay import Fault
from tests.soak import run
from tests.soak.faults import FAULT_S, Step
from tests.soak.run import soak


@pytest.mark.deadline(150)
def test_short_run_loses_nothing_and_writes_what_it_saw(tmp_path: Path) -> None:
    lines, wrong = soak(tmp_path, tmp_path / "out", seconds=20, rate=40, tunnels=20, limit=60)
    print("\n".join(lines))
    assert wrong == []
    rows = (tmp_path / "out" / "workers.csv").read_text().splitlines()
    assert rows[0].startswith("at,worker,pid,memory_kib,descriptors")
    pids = {tuple(row.split(",")[1:3]) for row in rows[1:]}
    assert len(pids) == 4, "both workers were replaced once, by a restart and by a kill"
    assert (tmp_path / "out" / "soak.svg").read_text().count("<polyline") == 3 * 4 + 2
    assert (tmp_path / "out" / "latency.csv").read_text().count("\n") > 8


@pytest.mark.deadline(120)
def test_losses_without_an_excuse_fail_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [Step(1, "platform", fault=Fault("reset"))]
    monkeypatch.setattr(run, "schedule", lambda _: steps)
    monkeypatch.setattr(run, "SETTLE_S", -2 * FAULT_S)  # the excuse ends before it begins
    _, wrong = soak(tmp_path, tmp_path / "out", seconds=5, rate=40, tunnels=4, limit=60)
    assert any(sentence.startswith("up lost ") for sentence in wrong), wrong
    assert not any("twice" in sentence or "down" in sentence for sentence in wrong), wrong
