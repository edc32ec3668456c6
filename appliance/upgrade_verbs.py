"""The verbs of upgrades.

Shell. Neighbours: `upgrade` does it, in a unit of its own with more rights than a console has.
"""

from __future__ import annotations

import json
from typing import Any, Final

from appliance import fields, install, upgrade
from appliance.errors import Problem, Problems, Refusal
from appliance.places import STATE
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy import __version__

__all__ = ["VERBS"]

_START_S: Final = 900.0
_PAUSE_S: Final = 0.5


def _install(context: Context, values: Values) -> Result:
    file, system = str(values["file"]), context.system
    entry = system.entry(file)
    if entry is None or entry.kind != "file":
        remedy = f"Put it on this machine first, such as into {STATE}, and give its path."
        raise Problems([Problem("FILE", file, "there is no such file", remedy)])
    escaped = system.ask(("systemd-escape", "--path", file))
    if escaped.code:
        raise Refusal(f"{file} cannot be the name of a release: {escaped.said}")
    unit = f"agent-proxy-upgrade@{escaped.out.strip()}.service"
    if not system.dry:
        system.remove(upgrade.STOP)
        system.remove(upgrade.STATE)  # of the upgrade before
    context.progress("checking, trying, switching and watching takes about two minutes")
    begun = system.run(("systemctl", "start", "--no-block", unit))
    if begun.code:
        raise Refusal(f"{unit} cannot be started: {begun.said}")
    if system.dry:
        return Result(("dry run: nothing was changed",), None)
    _follow(context, unit)
    found = _told(context)
    lines = (f"in force: {_current(context)}",)
    return Result(lines, found, 0 if found.get("state") == "done" else 1)


def _follow(context: Context, unit: str) -> None:
    """Show each step until the unit has ended; ask it to stop while it still can."""
    shown = 0
    asked = False
    end = context.system.uptime() + _START_S
    while context.system.uptime() < end:
        is_over = _is_over(context, unit)  # first: the last step is written before it ends
        found = _told(context)
        for step in found.get("steps", [])[shown:]:
            context.progress(str(step))
            shown += 1
        if is_over:
            return
        if found.get("state") in upgrade.SWITCHED:
            context.endures("it has switched, watches the node and goes back by itself")
        elif context.stop() and not asked:
            asked = True
            context.system.write(upgrade.STOP, b"")
        context.system.pause(_PAUSE_S)


def _is_over(context: Context, unit: str) -> bool:
    said = context.system.ask(("systemctl", "show", "--property=ActiveState,Job", unit)).out
    known = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    is_queued = known.get("Job") not in (None, "", "0")
    return known.get("ActiveState") in ("inactive", "failed") and not is_queued


def _status(context: Context, values: Values) -> Result:
    found = _told(context)
    steps = found.get("steps", [])
    if not steps:
        return Result((f"{__version__} is in force; there was no upgrade yet",), None)
    return Result((*map(str, steps), f"in force: {_current(context)}"), found)


def _rollback(context: Context, values: Values) -> Result:
    if not any(context.system.entry(one) for one in (upgrade.UNFINISHED, upgrade.PREVIOUS)):
        raise Refusal("there is no upgrade to take back")
    done = context.system.run(
        ("systemctl", "start", "agent-proxy-downgrade.service"), timeout_s=_START_S
    )
    if done.code:
        raise Refusal(f"it could not be taken back: {done.said}")
    return Result((f"in force: {_current(context)}",), {"version": _current(context)})


def _current(context: Context) -> str:
    entry = context.system.entry(install.CURRENT)
    return entry.target.rpartition("/")[2] if entry is not None else "none"


def _told(context: Context) -> dict[str, Any]:
    # Any: JSON of ours.
    try:
        found = json.loads(context.system.read(upgrade.STATE) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


VERBS: Final = (
    Verb(
        "upgrade install",
        "install a release, try it, switch to it and watch it; go back if it fails",
        _install,
        (
            Argument(
                "file",
                "file",
                "a signed release",
                required=True,
                positional=True,
                check=fields.path,
            ),
        ),
        (
            "agent-proxy-appliance upgrade install /var/lib/agent-proxy/agent-proxy-0.2.0.release",
            "agent-proxy-appliance upgrade install --yes --json /media/agent-proxy-0.2.0.release",
        ),
        "Its signature is checked with the keys of /etc/agent-proxy/release-keys first. It takes "
        "about two minutes; no request is lost, WebSockets connect again. In a balanced group "
        "upgrade one node after the other.",
        changes=True,
        dangerous=True,
    ),
    Verb(
        "upgrade status",
        "show how the last upgrade went, and what is in force",
        _status,
        examples=("agent-proxy-appliance upgrade status",),
    ),
    Verb(
        "upgrade rollback",
        "go back to the release before the last upgrade",
        _rollback,
        examples=("agent-proxy-appliance upgrade rollback --yes",),
        changes=True,
        dangerous=True,
        endures="going back goes on until the old release is whole",
    ),
)
