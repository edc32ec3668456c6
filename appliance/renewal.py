"""Replaces supervisord, and all that it keeps, while others serve: no request is lost.

Shell. Neighbours: `service_verbs` and `upgrade` ask for it; agent-proxy-bridge@N.service runs
worker N of the release in force, outside of supervisord.

    bridge   as many workers as there are, from number 900 on, share the port with those there are
    stop     the service ends: its workers drain, and pass their listening sockets to the bridge
    start    another supervisord, of the release in force; its workers take their sockets back
    end      all are ready: the bridge drains

Whatever fails before `stop` changes nothing. What fails after it leaves the bridge serving, until
this is done again with better luck.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Final

from appliance import facts
from appliance.errors import Refusal
from appliance.places import Places
from appliance.system import System
from appliance.verb import Context
from proxy.settings import Settings

__all__ = ["await_ready", "renew"]

FIRST: Final = 900
_SERVICE: Final = "agent-proxy.service"
_READY_WITHIN_S: Final = 180.0
_STOP_S: Final = 120.0
_PAUSE_S: Final = 0.5


def renew(context: Context, *, insist: bool = False) -> list[str]:
    """Return the names of the processes, all of them new and ready.

    `insist`: what runs is worse than an interruption, so go on without a bridge if there is none.
    Raises: Refusal.
    """
    context = dataclasses.replace(context, stop=lambda: False)  # half-way nobody is served well
    system, places = context.system, Places(context.conf)
    settings, problems = facts.configured(system, context.conf)
    if settings is None:
        raise Refusal(f"proxy.ini has problems: {problems[0]}")
    count = sum("worker-" in one.name for one in facts.workers(system, places)) or 1
    bridge = [FIRST + number for number in range(count)]
    try:
        _start_bridge(context, settings, bridge)
    except Refusal:
        if not insist:
            _end_bridge(context, bridge)
            raise
    context.progress("stopping supervisord; its workers finish what is under way")
    _do(system, "systemctl", "stop", _SERVICE)
    context.progress("starting it anew")
    _do(system, "systemctl", "start", _SERVICE)
    names = _await_service(context, places)
    numbers = [name.rpartition("-")[2] for name in names if "worker-" in name]
    await_ready(context, settings, numbers)
    _end_bridge(context, bridge)
    return names


def await_ready(
    context: Context,
    settings: Settings,
    numbers: list[str],
    has_ended: Callable[[str], bool] = lambda number: False,
) -> None:
    """Return once these workers take traffic. Raises: Refusal if they do not in time."""
    if context.system.dry:
        return
    end = context.system.uptime() + _READY_WITHIN_S
    while True:
        said = _ready_workers(context, settings)
        late = [number for number in numbers if said.get(number) != "ready"]
        if not late:
            return
        if context.system.uptime() >= end:
            why = "; ".join(str(said.get(number, "does not answer")) for number in late)
            raise Refusal(
                f"worker {', '.join(late)} is not ready after {_READY_WITHIN_S:.0f} s: {why}. "
                "See `services logs`; the processes after it were left alone"
            )
        ended = [number for number in late if has_ended(number)]
        if ended:
            raise Refusal(f"worker {', '.join(ended)} ended by itself. See `services logs`")
        if context.stop():
            raise Refusal(
                f"worker {', '.join(late)} was restarted; nobody waited until it was ready"
            )
        context.progress(f"waiting for worker {', '.join(late)}")
        context.system.pause(_PAUSE_S)


def _ready_workers(context: Context, settings: Settings) -> dict[str, object]:
    page = context.system.fetch(settings.admin.address, settings.admin.port, "/ready")
    try:
        found = json.loads(page.body).get("workers", {}) if page is not None else {}
    except (ValueError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def _start_bridge(context: Context, settings: Settings, bridge: list[int]) -> None:
    context.progress("starting workers that serve meanwhile")
    for number in bridge:
        _do(context.system, "systemctl", "start", _unit(number))

    def has_ended(number: str) -> bool:
        said = context.system.ask(("systemctl", "is-active", _unit(int(number)))).out.strip()
        return said in ("failed", "inactive")

    await_ready(context, settings, list(map(str, bridge)), has_ended)


def _end_bridge(context: Context, bridge: list[int]) -> None:
    context.progress("ending the workers that served meanwhile")
    units = [_unit(number) for number in bridge]
    _do(context.system, "systemctl", "stop", *units)


def _unit(number: int) -> str:
    return f"agent-proxy-bridge@{number}.service"


def _await_service(context: Context, places: Places) -> list[str]:
    """Return the names of supervisord's processes once all of them run. Raises: Refusal."""
    end = context.system.uptime() + _READY_WITHIN_S
    while True:
        found = facts.workers(context.system, places)
        down = [f"{one.name} is {one.state}" for one in found if not one.is_running]
        if context.system.dry or (found and not down):
            return [one.name for one in found]
        given_up = any(one.state == "FATAL" for one in found)
        if given_up or context.system.uptime() >= end:
            raise Refusal("; ".join(down) or "supervisord does not answer")
        context.system.pause(_PAUSE_S)


def _do(system: System, *argv: str) -> None:
    done = system.run(argv, timeout_s=_STOP_S)
    if done.code:
        raise Refusal(f"{' '.join(argv)} failed with {done.code}: {done.said}")
