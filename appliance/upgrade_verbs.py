"""The verbs of upgrades.

Shell. Neighbours: `upgrade` does it, in a unit of its own with more rights than a console has.
"""

from __future__ import annotations

import json
from typing import Any, Final

from appliance import install, upgrade
from appliance.errors import Refusal
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy import __version__

__all__ = ["VERBS"]

_START_S: Final = 900.0


def _install(context: Context, values: Values) -> Result:
    escaped = context.system.ask(("systemd-escape", "--path", str(values["file"])))
    if escaped.code:
        raise Refusal(f"{values['file']} cannot be the name of a release: {escaped.said}")
    unit = f"agent-proxy-upgrade@{escaped.out.strip()}.service"
    context.progress("checking, trying, switching and watching takes about two minutes")
    done = context.system.run(("systemctl", "start", unit), timeout_s=_START_S)
    if context.system.dry:
        return Result(("dry run: nothing was changed",), None)
    result = _status(context, values)
    return Result(result.lines, result.data, 1 if done.code else 0)


def _status(context: Context, values: Values) -> Result:
    found = _told(context)
    steps = found.get("steps", [])
    if not steps:
        return Result((f"{__version__} is in force; there was no upgrade yet",), None)
    return Result((*map(str, steps), f"in force: {_current(context)}"), found)


def _rollback(context: Context, values: Values) -> Result:
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
        (Argument("file", "file", "a signed release", required=True, positional=True),),
        ("agent-proxy-appliance upgrade install /var/lib/agent-proxy/agent-proxy-0.2.0.release",),
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
    ),
)
