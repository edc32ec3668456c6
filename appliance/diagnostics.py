"""The whole diagnosis: every question in order, within one deadline, each with what to do.

Shell. Neighbours: proxy's `check` and the `diagnose_*` modules ask; the verb `diagnose` shows each
outcome as soon as it is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from appliance import (
    diagnose_arrivals,
    diagnose_logs,
    diagnose_machine,
    diagnose_network,
    diagnosis,
    facts,
)
from appliance.arrivals import Arrivals
from appliance.diagnosis import Case
from appliance.places import Places
from appliance.system import System
from proxy import check
from proxy.outcome import Outcome
from proxy.probe import Deadline

__all__ = ["run"]

# `check` asks these of its own process and user, which are not the workers': the questions are put
# otherwise here.
_ASKED_OTHERWISE: Final = frozenset({"file descriptors", "run directory"})
_CHECK_S: Final = 30.0


def run(
    system: System,
    conf: str,
    *,
    deadline_s: float,
    wait_s: float,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Outcome]:
    """Yield every outcome; ends within `deadline_s`, waiting up to `wait_s` for others to call.

    Nobody is waited for any more once `stop` is true.
    """
    began = time.monotonic()
    deadline = Deadline(deadline_s)
    system = system.hurried(deadline_s)
    places = Places(conf)
    found = facts.gather(system, conf)
    watching = _watch(found)
    try:
        here = str(system.path(conf))
        left_s = max(1.0, deadline_s - (time.monotonic() - began))
        for outcome in check.run(here, min(_CHECK_S, left_s)):
            if outcome.name not in _ASKED_OTHERWISE:
                yield outcome
        if found.settings is None:
            return
        log = diagnosis.seen(system, places)
        case = Case(system, places, found, found.settings, deadline, log)
        yield from diagnose_machine.outcomes(case)
        yield from diagnose_network.surroundings(case)
        yield from diagnose_network.outwards(case)
        yield from diagnose_logs.outcomes(case)
        yield from diagnose_network.agents(case)
        yield diagnose_arrivals.registration(case)
        left_s = max(0.0, deadline_s - (time.monotonic() - began))
        until_s = min(wait_s, time.monotonic() - began + left_s)
        yield from diagnose_arrivals.outcomes(
            case, watching, lambda: time.monotonic() - began, until_s, stop
        )
    finally:
        if watching is not None:
            watching.stop()


def _watch(found: facts.Facts) -> Arrivals | None:
    """Begin to watch the proxy's port; None where that is not allowed."""
    if found.settings is None:
        return None
    watching = Arrivals(found.settings.listen.port)
    try:
        watching.start()
    except OSError:
        return None
    return watching
