"""The verbs of clock, remote log and updates.

Shell. Neighbours: `timekeeping`, `syslog` and `updates` judge and plan, `keeping` applies.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from appliance import facts, fields, keeping, syslog, timekeeping, updates
from appliance.errors import Problem, Problems, Refusal
from appliance.places import Places
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]


def _given(values: Values, *names: str) -> dict[str, Any]:
    # Any: whatever the fields hold.
    return {name: values[name] for name in names if values.get(name) is not None}


def _show_time(context: Context, values: Values) -> Result:
    now = keeping.load(context).time
    found = facts.gather(context.system, context.conf)
    state = {True: "synchronised", False: "NOT synchronised", None: "not known"}[found.synchronised]
    lines = (
        f"clock        {state}",
        f"time zone    {found.timezone or 'not known'}",
        f"servers      {', '.join(now.servers) or 'as DHCP says, or Debian default'}",
    )
    data = {
        "synchronised": found.synchronised,
        "timezone": found.timezone,
        "set": keeping.as_data(now),
    }
    return Result(lines, data)


def _set_time(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    given = _given(values, "timezone")
    if values.get("server") is not None:
        given["servers"] = values["server"]
    wanted = dataclasses.replace(now.time, **given)
    zones = context.system.ask(("timedatectl", "list-timezones")).out.split()
    problems = timekeeping.validate(wanted, frozenset([*zones, "Etc/UTC"] if zones else ()))
    if problems:
        raise Problems(problems)
    timezone = facts.gather(context.system, context.conf).timezone
    plan = timekeeping.plan(now.time, wanted, timezone)
    return keeping.keep(context, dataclasses.replace(now, time=wanted), plan)


def _show_syslog(context: Context, values: Values) -> Result:
    now = keeping.load(context).syslog
    if not now.target:
        return Result(("Log lines are kept here only.",), keeping.as_data(now))
    how = "TLS" if now.protocol == "tls" else "TCP, not encrypted"
    return Result((f"Log lines are sent to {now.target} by {how}.",), keeping.as_data(now))


def _set_syslog(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    given = _given(values, "protocol", "server_name", "ca")
    target = values.get("target")
    if target == "off":
        wanted = type(now.syslog)()
    else:
        if target is not None:
            given["target"] = target
        wanted = dataclasses.replace(now.syslog, **given)
    problems = syslog.validate(wanted)
    if given.get("ca") is not None and not given["ca"].strip():
        remedy = "Give a PEM file, or leave it out for the system's authorities."
        problems.append(Problem("syslog.ca", "", "there is nothing in it", remedy))
    if problems:
        raise Problems(problems)
    plan = syslog.plan(now.syslog, wanted, Places(context.conf))
    return keeping.keep(context, dataclasses.replace(now, syslog=wanted), plan)


def _show_updates(context: Context, values: Values) -> Result:
    now = keeping.load(context).updates
    if now.mode == "off":
        line = "Security updates are NOT installed by themselves."
    else:
        line = f"Security updates from {now.start} within {now.window_minutes} minutes"
        line += ", with a restart if one is needed." if now.reboot else "; never a restart."
    return Result((line,), keeping.as_data(now))


def _set_updates(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    given = _given(values, "mode", "start")
    if values.get("window") is not None:
        given["window_minutes"] = values["window"]
    if values.get("reboot") is not None:
        given["reboot"] = values["reboot"] == "yes"
    if given.get("mode") == "off":
        given.setdefault("reboot", False)
    wanted = dataclasses.replace(now.updates, **given)
    problems = updates.validate(wanted)
    if problems:
        raise Problems(problems)
    if wanted.mode == "security" and context.system.entry("/usr/bin/unattended-upgrade") is None:
        raise Refusal("unattended-upgrades is not installed. apt-get install unattended-upgrades")
    plan = updates.plan(wanted)
    return keeping.keep(context, dataclasses.replace(now, updates=wanted), plan)


_YES_NO: Final = ("yes", "no")
VERBS: Final = (
    Verb(
        "time show",
        "show clock, time zone and time servers",
        _show_time,
        examples=("agent-proxy-appliance time show --json",),
    ),
    Verb(
        "time set",
        "set time servers and time zone",
        _set_time,
        (
            Argument(
                "server",
                "list",
                "a time server; repeatable; '' for DHCP's or Debian's",
                "a name or an address",
                check=fields.host,
            ),
            Argument(
                "timezone",
                "text",
                "the time zone",
                "Europe/Berlin",
                check=timekeeping.zone,
            ),
        ),
        ("agent-proxy-appliance time set --server ntp.example.com --timezone Etc/UTC",),
        changes=True,
    ),
    Verb(
        "syslog show",
        "show where log lines are sent",
        _show_syslog,
        examples=("agent-proxy-appliance syslog show --json",),
    ),
    Verb(
        "syslog set",
        "send log lines to a collector as well, or no longer",
        _set_syslog,
        (
            Argument(
                "target",
                "text",
                "the collector, or off",
                "host:port, or off",
                required=True,
                positional=True,
                check=fields.or_off(fields.endpoint),
            ),
            Argument(
                "protocol", "choice", "tls, or tcp without encryption", choices=("tls", "tcp")
            ),
            Argument(
                "ca",
                "lines",
                "the authorities that signed its certificate, PEM",
                check=fields.authorities,
            ),
            Argument(
                "server_name",
                "text",
                "the name in its certificate",
                "",
                "the host",
                check=fields.domain,
            ),
        ),
        (
            "agent-proxy-appliance syslog set log.example.com:6514 --ca-file log-ca.pem",
            "agent-proxy-appliance syslog set off",
        ),
        "No body, query, token or key is in any log line.",
        changes=True,
    ),
    Verb(
        "updates show",
        "show when security updates are installed",
        _show_updates,
        examples=("agent-proxy-appliance updates show --json",),
    ),
    Verb(
        "updates set",
        "install Debian's security updates in a window, or not at all",
        _set_updates,
        (
            Argument("mode", "choice", "security updates, or none", choices=("security", "off")),
            Argument(
                "start",
                "text",
                "when the window begins, local time",
                "00:00 to 23:59",
                check=fields.clock_time,
            ),
            Argument(
                "window", "number", "how long it is, in minutes", "10 to 720", low=10, high=720
            ),
            Argument(
                "reboot", "choice", "restart at its end if an update needs it", choices=_YES_NO
            ),
        ),
        (
            "agent-proxy-appliance updates set --mode security --start 03:00 --window 60",
            "agent-proxy-appliance updates set --mode off",
        ),
        "In a balanced group give each node another window.",
        changes=True,
    ),
)
