"""How long an exchange waits, and for whom.

Layer 0 (pure). Neighbours: `node` makes one for each kind of target, `relay` goes by it.

A caller may keep us waiting for its request's body for [timeouts] body_idle in all; each byte
that comes gives back a little of that, 1 / [limits] body_rate. So silence ends, a byte now and
then ends as soon, and a long body at a slow but honest rate never does. One number moves and no
timer is set for it; a total per body would forbid what is large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from proxy.errors import Blame
from proxy.settings import Settings

__all__ = ["Patience", "patience"]


@dataclass(frozen=True, slots=True)
class Patience:
    """Times are seconds."""

    answer: float
    body_idle: float
    second_per_byte: float
    """What a byte of a request's body gives back; infinite: all, only silence counts."""
    whom: Blame
    late: str
    """What is said when `answer` has passed."""
    stopped: str
    """What is said when an answer that had begun was silent for `body_idle`."""

    def after(self, left_s: float, arrived_bytes: int) -> float:
        """Return how long the caller may keep us waiting now that more of its body has come."""
        return min(self.body_idle, left_s + arrived_bytes * self.second_per_byte)


def patience(settings: Settings, whom: Blame) -> Patience:
    """Return what is waited for a target of kind `whom`: "platform", "agent" or "peer"."""
    timeouts, rate = settings.timeouts, settings.limits.body_rate
    key = "upstream_answer" if whom == "platform" else "agent_answer"
    named = {"platform": "upstream", "peer": "next proxy"}.get(whom, whom)
    return Patience(
        timeouts.upstream_answer if whom == "platform" else timeouts.agent_answer,
        timeouts.body_idle,
        1 / rate if rate else math.inf,
        whom,
        f"the {named} did not answer within [timeouts] {key}",
        f"the answer of the {named} stopped for longer than [timeouts] body_idle",
    )
