"""What must not stop the proxy: a full disk, and a clock that jumps."""

from __future__ import annotations

import os
from pathlib import Path

from proxy.telemetry import Telemetry

PROXY = Path(__file__).resolve().parents[2] / "proxy"
# What shows a date, or compares one with that of a certificate. No wait of anything is among them.
OF_THE_WALL_CLOCK = {"telemetry", "worker", "connection", "probe", "check_upstream"}


def test_access_log_on_a_full_disk_is_counted_and_stops_nothing() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        telemetry = Telemetry(0, "plain", access=True, access_fd=full)
        for _ in range(2):
            telemetry.finish(telemetry.begin("agent", "10.0.0.1", "default", b"GET"))
            telemetry.flush()
        assert telemetry.snapshot()["events"]["access_log_lost"] == 2
    finally:
        os.close(full)


def test_no_wait_goes_by_a_clock_that_can_be_set() -> None:
    using = {path.stem for path in PROXY.glob("*.py") if "time.time()" in path.read_text()}
    assert using <= OF_THE_WALL_CLOCK, "a deadline must go by time.monotonic()"
    for name in ("deadline", "health", "relay", "tunnel", "watchdog", "upstream", "lease"):
        assert name not in using
