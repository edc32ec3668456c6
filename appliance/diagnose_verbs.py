"""The verb `diagnose`: PASS, FAIL and SKIP, one line each as soon as it is known.

Shell. Neighbours: `diagnostics` asks.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from appliance import diagnostics
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy.outcome import Outcome

__all__ = ["VERBS"]

_DEADLINE_S: Final = 120
_WAIT_S: Final = 60


def _diagnose(context: Context, values: Values) -> Result:
    wait_s = values["wait"] if values.get("wait") is not None else _WAIT_S
    deadline_s = values.get("deadline") or max(_DEADLINE_S, wait_s + _WAIT_S)
    context.progress("asking; whoever is waited for is waited for last")
    found: list[Outcome] = []
    for outcome in diagnostics.run(
        context.system, context.conf, deadline_s=deadline_s, wait_s=wait_s
    ):
        found.append(outcome)
        context.progress(str(outcome))
        if context.stop():
            break
    counts = Counter(one.verdict for one in found)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("PASS", "FAIL", "SKIP"))
    data = {"counts": dict(counts), "outcomes": [one._asdict() for one in found]}
    return Result((told,), data, 1 if counts["FAIL"] else 0)


VERBS: Final = (
    Verb(
        "diagnose",
        "test everything this node relies on, in both directions",
        _diagnose,
        (
            Argument(
                "wait",
                "number",
                "how long to wait for the platform to call",
                "0 to 3600 s",
                "60",
                low=0,
                high=3600,
            ),
            Argument(
                "deadline",
                "number",
                "for everything together",
                "5 to 3700 s",
                "120",
                low=5,
                high=3700,
            ),
        ),
        (
            "agent-proxy-appliance diagnose",
            "agent-proxy-appliance diagnose --wait 0 --json",
        ),
        "Findings about the network are worded for a firewall ticket. Exit code 1 if one fails.",
    ),
)
