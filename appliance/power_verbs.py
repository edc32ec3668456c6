"""The verbs that concern the machine as a whole: status, restart, shut down, factory reset.

Shell. Neighbours: `overview` shows, `reset` removes, systemd does the rest.
"""

from __future__ import annotations

from typing import Final

from appliance import facts, overview, reset
from appliance.errors import Refusal
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]


def _status(context: Context, values: Values) -> Result:
    found = facts.gather(context.system, context.conf)
    code = 1 if overview.warnings(found) else 0
    return Result(tuple(overview.lines(found)), overview.data(found), code)


def _power(context: Context, verb: str, sense: str) -> Result:
    done = context.system.run(("systemctl", verb))
    if done.code:
        raise Refusal(f"systemctl {verb} failed with {done.code}: {done.said}")
    return Result((sense,), {"begun": True})


def _restart(context: Context, values: Values) -> Result:
    return _power(context, "reboot", "The machine restarts; the proxy drains first.")


def _shutdown(context: Context, values: Values) -> Result:
    return _power(context, "poweroff", "The machine shuts down; the proxy drains first.")


def _factory_reset(context: Context, values: Values) -> Result:
    """The proxy is stopped first: it would write into the folders that are emptied."""
    try:
        reset.begin(context.system)
        context.progress("stopping the proxy")
        context.system.run(("systemctl", "stop", "agent-proxy.service"), timeout_s=90.0)
        context.progress("removing everything that was set up")
        removed = reset.finish(context.system, context.conf)
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}. Restart: the reset goes on") from error
    if not values.get("stay"):
        _power(context, "reboot", "")
    lines = (f"{len(removed)} files are removed.", "The machine restarts with its first boot.")
    return Result(lines, {"removed": removed})


_ON_ITS_WAY: Final = "the machine is on its way down"

VERBS: Final = (
    Verb(
        "status",
        "show addresses, proxy ID, workers, upstream, and what wants attention",
        _status,
        examples=("agent-proxy-appliance status", "agent-proxy-appliance status --json"),
        more="Exit code 1 if something wants attention.",
    ),
    Verb(
        "restart",
        "restart the machine",
        _restart,
        examples=("agent-proxy-appliance restart --yes",),
        more="A change that is not confirmed is taken back.",
        changes=True,
        dangerous=True,
        endures=_ON_ITS_WAY,
    ),
    Verb(
        "shutdown",
        "shut the machine down",
        _shutdown,
        examples=("agent-proxy-appliance shutdown --yes",),
        changes=True,
        dangerous=True,
        endures=_ON_ITS_WAY,
    ),
    Verb(
        "factory-reset",
        "remove settings, secrets, certificates, logs and backups, and begin with the first boot",
        _factory_reset,
        (Argument("stay", "flag", "do not restart afterwards"),),
        (
            "agent-proxy-appliance factory-reset --dry-run",
            "agent-proxy-appliance factory-reset --yes",
        ),
        "Kept: the release, Debian's packages, machine-id and SSH host keys.",
        changes=True,
        dangerous=True,
        endures="half of the settings would be worse than none",
    ),
)
