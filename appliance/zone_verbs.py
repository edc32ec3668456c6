"""The verbs of zones, made from the interfaces that are there.

Shell. Neighbours: `settings_verbs.change` does the work; `facts` knows the interfaces.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final

from appliance import facts, fields, ini_edit, proxy_setup, settings_verbs
from appliance.errors import Problem, Problems
from appliance.facts import Facts
from appliance.ini_edit import Change
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]

_KEYS: Final = ("interface", "networks", "listen", "source", "port", "network_id")


def _show(context: Context, values: Values) -> Result:
    found = facts.gather(context.system, context.conf)
    zones = _zones(found)
    taken = {zone["interface"] for zone in zones}
    free = [one.name for one in found.interfaces if one.name not in taken]
    lines: list[str] = []
    for zone in zones:
        where = f"behind {zone['interface']} ({zone['state']})" if zone["interface"] else "anywhere"
        lines.append(f"{zone['name']:<20} {where}, agents in {zone['networks']}")
    lines.append(f"Interfaces without a zone: {', '.join(free) or 'none'}")
    return Result(tuple(lines), {"zones": zones, "freeInterfaces": free})


def _zones(found: Facts) -> list[dict[str, Any]]:
    # Any: text and numbers, for JSON.
    if found.settings is None:
        raise Problems(Problem("proxy.ini", "", text, "Mend it first.") for text in found.problems)
    shown = []
    for zone in found.settings.zones:
        interface = found.interface(zone.interface) if zone.interface else None
        shown.append(
            {
                "name": zone.name,
                "interface": zone.interface,
                "state": interface.state if interface else "missing" if zone.interface else "",
                "addresses": list(interface.addresses) if interface else [],
                "networks": ", ".join(map(str, zone.networks)),
                "listen": zone.listen,
                "source": zone.source,
                "port": zone.port,
                "network_id": zone.network_id,
            }
        )
    return shown


def _add(context: Context, values: Values) -> Result:
    name = str(values["name"])
    interface = values.get("interface")
    if interface:
        _refuse_unknown(context, interface)
    given = {
        key: ", ".join(value) if isinstance(value, tuple) else str(value)
        for key in _KEYS
        if (value := values.get(key)) not in (None, "", ())
    }
    section = ("zones", name)
    # A zone of nothing but its name is one, too; port is as good as any to carry it.
    changes = [Change(section, key, value) for key, value in given.items()]
    lost = _implied(context) if name != "default" else ""
    result = settings_verbs.change(
        context, f"zone {name}", changes or [Change(section, "port", "2003")]
    )
    return dataclasses.replace(result, lines=(*filter(None, (lost,)), *result.lines))


def _implied(context: Context) -> str:
    """Return what is lost with the first zone: that which is there while none is named."""
    found = facts.configured(context.system, context.conf)[0]
    if found is None or [zone.name for zone in found.zones] != ["default"]:
        return ""
    if re.search(r"(?m)^\s*\[\[default\]\]", settings_verbs.text_of(context)):
        return ""
    networks = ", ".join(str(one) for zone in found.zones for one in zone.networks)
    text = f"WARNING  this first zone takes the place of the default one: agents in {networks}"
    return f"{text} are cut off unless a zone has them. Add a zone default with these to keep it."


def _refuse_unknown(context: Context, name: str) -> None:
    """Raises: Problems. The proxy itself waits for an interface; a person has mistyped it."""
    found = facts.gather(context.system, context.conf)
    if found.interface(name) is None:
        there = ", ".join(one.name for one in found.interfaces) or "none"
        message = "this machine has no such interface"
        raise Problems([Problem("--interface", name, message, f"There are: {there}.")])


def _remove(context: Context, values: Values) -> Result:
    name = str(values["name"])
    text = settings_verbs.text_of(context)
    without = ini_edit.removed(text, ("zones", name))
    if without == text:
        remedy = "See `agent-proxy-appliance zones show`."
        raise Problems([Problem("NAME", name, "there is no zone of this name", remedy)])
    return settings_verbs.replace(context, f"zone {name}: removed", without)


_NAME: Final = Argument(
    "name",
    "text",
    "the zone",
    "1 to 32 of A-Z a-z 0-9 . _ -",
    required=True,
    positional=True,
    check=fields.zone_name,
)
VERBS: Final = (
    Verb(
        "zones show",
        "show the zones and the interfaces that have none",
        _show,
        examples=("agent-proxy-appliance zones show", "agent-proxy-appliance zones show --json"),
    ),
    Verb(
        "zones add",
        "add a zone, or change the values of one",
        _add,
        (
            _NAME,
            Argument(
                "interface",
                "text",
                "the interface its agents are behind",
                "an interface or VRF",
                check=proxy_setup.check("zones.*", "interface"),
            ),
            Argument(
                "networks",
                "list",
                "where its agents live",
                "networks such as 10.0.0.0/8",
                check=proxy_setup.check("zones.*", "networks"),
            ),
            Argument(
                "listen",
                "text",
                "where its agents arrive",
                "an address of this machine",
                check=proxy_setup.check("zones.*", "listen"),
            ),
            Argument(
                "source",
                "text",
                "where its agents are called from",
                "an address",
                check=proxy_setup.check("zones.*", "source"),
            ),
            Argument(
                "port",
                "number",
                "the port of its agents",
                "1 to 65535",
                "2003",
                (),
                low=1,
                high=65535,
            ),
            Argument(
                "network_id",
                "text",
                "what a balancer calls it",
                "netns:NAME, aws:ENDPOINT, azure:LINKID or gcp:CONNECTION",
                check=proxy_setup.check("zones.*", "network_id"),
            ),
        ),
        (
            "agent-proxy-appliance zones add isolated-1 --interface eth1",
            "agent-proxy-appliance zones add isolated-2 --interface eth2 --networks 10.0.0.0/8",
        ),
        "It is taken back after 120 s unless confirmed.",
        changes=True,
        confirm=True,
    ),
    Verb(
        "zones remove",
        "remove a zone",
        _remove,
        (_NAME,),
        ("agent-proxy-appliance zones remove isolated-1",),
        "Its agents are cut off. It is taken back after 120 s unless confirmed.",
        changes=True,
        confirm=True,
    ),
)
