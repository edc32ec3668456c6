"""Clock and time zone, by systemd-timesyncd and timedatectl.

Values. Neighbours: `model` holds what is wanted; `machine_verbs` above.
"""

from __future__ import annotations

import re
from typing import Final

from appliance import fields
from appliance.errors import Problem
from appliance.model import Time
from appliance.plan import Action, Plan, Write, rendered

__all__ = ["plan", "render", "validate", "zone"]

_TIMESYNCD: Final = "/etc/systemd/timesyncd.conf.d/50-agent-proxy.conf"
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}")
_SERVERS_MAX: Final = 8


def validate(wanted: Time, zones: frozenset[str]) -> list[Problem]:
    """Return what is wrong; `zones` are the names this machine knows, empty if it cannot tell."""
    problems = []
    for number, text in enumerate(wanted.servers, 1):
        try:
            fields.host(text)
        except ValueError as error:
            remedy = "Give a name or an address, such as ntp.example.com."
            problems.append(Problem(f"time.servers.{number}", text, str(error), remedy))
    if len(wanted.servers) > _SERVERS_MAX:
        message = f"there are more than {_SERVERS_MAX}"
        problems.append(Problem("time.servers", "", message, "Three or four are enough."))
    known = wanted.timezone in zones if zones else bool(_ZONE.fullmatch(wanted.timezone))
    if wanted.timezone and not known:
        remedy = "Give one such as Europe/Berlin or Etc/UTC: see `timedatectl list-timezones`."
        problems.append(Problem("time.timezone", wanted.timezone, "is no time zone", remedy))
    return problems


def zone(text: str) -> str:
    """Return what looks like the name of a time zone. Raises: ValueError."""
    if not _ZONE.fullmatch(text):
        raise ValueError("is no time zone")
    return text


def render(wanted: Time) -> tuple[Write, ...]:
    """Return the file of servers; none where DHCP's or Debian's own are to be used."""
    if not wanted.servers:
        return ()
    lines = ["[Time]", f"NTP={' '.join(wanted.servers)}", "FallbackNTP="]
    return (Write(_TIMESYNCD, rendered(lines)),)


def plan(now: Time, wanted: Time, timezone: str) -> Plan:
    """Return what turns one into the other; `timezone` is what the machine has now."""
    writes = render(wanted)
    removals = () if writes else tuple(write.path for write in render(now))
    actions = []
    if writes != render(now):
        argv = ("systemctl", "restart", "systemd-timesyncd.service")
        actions.append(Action(argv, "restarting time synchronisation"))
    if wanted.timezone and wanted.timezone != timezone:
        reverse = ("timedatectl", "set-timezone", timezone) if timezone else ()
        argv = ("timedatectl", "set-timezone", wanted.timezone)
        files = ("/etc/localtime",)
        actions.append(Action(argv, "setting the time zone", reverse=reverse, files=files))
    return Plan("time", writes, removals, tuple(actions))
