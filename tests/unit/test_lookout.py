"""The lookout tells what was found, and does not flood the log with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.duplicates import Comparison, Identity, Sightings
from proxy.lookout import Lookout


def test_a_network_full_of_suspects_is_told_in_a_few_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[tuple[Identity, str]] = [
        (("default", f"10.0.{number // 256}.{number % 256}"), "Host") for number in range(1000)
    ]
    monkeypatch.setattr(Comparison, "turns", lambda self, now: found)
    told: list[str] = []
    lookout = Lookout(
        str(tmp_path), 0, Sightings("run"), lambda zone, source, why: told.append(source)
    )
    lookout.look()
    assert told == [source for (_, source), _ in found[:10]]
    (line,) = caplog.messages
    assert line.startswith("990 more identities")
