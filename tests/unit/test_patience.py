"""How long is waited, and that a body may be slow and long but not slower than its rate."""

from __future__ import annotations

import math
from typing import cast

import pytest

from proxy.errors import Blame
from proxy.patience import patience
from proxy.settings import parse


@pytest.mark.parametrize(
    ("whom", "answer_s", "named"),
    [
        ("platform", 120.0, "the upstream did not answer within [timeouts] upstream_answer"),
        ("agent", 600.0, "the agent did not answer within [timeouts] agent_answer"),
        ("peer", 600.0, "the next proxy did not answer within [timeouts] agent_answer"),
    ],
)
def test_each_target_has_its_own_time_to_answer(whom: str, answer_s: float, named: str) -> None:
    made = patience(parse([]), cast(Blame, whom))
    assert (made.answer, made.late, made.whom) == (answer_s, named, whom)
    assert made.stopped.endswith("stopped for longer than [timeouts] body_idle")


def test_a_body_at_its_rate_never_ends_and_a_slower_one_does() -> None:
    made = patience(parse(["[timeouts]", "body_idle = 10", "[limits]", "body_rate = 100"]), "agent")
    left_s = 10.0
    for _ in range(100_000):  # a second of waiting for a hundred bytes
        left_s = made.after(left_s - 1, 100)
    assert left_s == 10.0
    seconds = 0
    while left_s > 0:
        left_s = made.after(left_s - 1, 10)
        seconds += 1
    assert seconds == 12  # 10 s, and what ten bytes a second give back of them


def test_many_bytes_at_once_are_no_reserve() -> None:
    made = patience(parse(["[timeouts]", "body_idle = 10"]), "platform")
    assert made.after(3.0, 1 << 40) == 10.0


def test_without_a_rate_only_silence_counts() -> None:
    made = patience(parse(["[limits]", "body_rate = 0"]), "platform")
    assert made.second_per_byte == math.inf
    assert made.after(0.5, 1) == 60.0
