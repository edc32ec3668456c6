"""The verbs of the network: interfaces, name servers, host name.

Shell. Neighbours: `network` judges and plans, `keeping` applies.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from appliance import facts, fields, keeping, network
from appliance.errors import Problem, Problems
from appliance.facts import Facts
from appliance.model import Appliance, Interface, Network, Route
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]


def _change(context: Context, now: Appliance, wanted: Network, title: str) -> Result:
    """Raises: Problems, Refusal."""
    found = facts.gather(context.system, context.conf)
    problems = network.validate(wanted, found.interfaces)
    if problems:
        raise Problems(problems)
    plan = network.plan(now.network, wanted, found.hostname)
    plan = dataclasses.replace(plan, title=title)
    return keeping.keep(context, dataclasses.replace(now, network=wanted), plan, confirm=True)


def _show(context: Context, values: Values) -> Result:
    found = facts.gather(context.system, context.conf)
    now = keeping.load(context).network
    lines = [f"host name   {found.hostname}"]
    for one in found.interfaces:
        what = " ".join(filter(None, (one.state, one.kind or one.driver, f"MTU {one.mtu}")))
        lines.append(f"{one.name:<11} {what}, {one.mac}")
        lines += [f"{'':<11} {_origin(text, one.dynamic)}" for text in one.addresses]
    lines += [f"{'route':<11} {_route(one)}" for one in found.routes]
    lines.append(f"name server {', '.join(found.dns) or 'none'}")
    lines.append(f"search      {', '.join(found.search) or 'none'}")
    managed = ", ".join(one.name for one in now.interfaces) or "none"
    lines.append(f"set here    {managed} (others are left alone)")
    return Result(tuple(lines), {"found": _found(found), "set": keeping.as_data(now)})


def _origin(text: str, dynamic: tuple[str, ...]) -> str:
    return f"{text} (given by the network)" if text in dynamic else text


def _route(one: Any) -> str:
    via = f" via {one.via}" if one.via else ""
    return f"{one.to}{via} by {one.interface}"


def _found(found: Facts) -> dict[str, Any]:
    # Any: JSON.
    return {
        "hostname": found.hostname,
        "interfaces": [one._asdict() for one in found.interfaces],
        "routes": [one._asdict() for one in found.routes],
        "dns": list(found.dns),
        "search": list(found.search),
    }


def _set(context: Context, values: Values) -> Result:
    name = str(values["interface"])
    now = keeping.load(context)
    old = next((one for one in now.network.interfaces if one.name == name), Interface(name))
    wanted = _wanted(old, values)
    others = tuple(one for one in now.network.interfaces if one.name != name)
    interfaces = (*others, wanted)
    for number in wanted.vlans:  # each gets an entry, to be given addresses next
        inner = f"{name}.{number}"
        if not any(one.name == inner for one in interfaces):
            interfaces = (*interfaces, Interface(inner, dhcp4=False, ipv6="static"))
    gone = {f"{name}.{number}" for number in old.vlans if number not in wanted.vlans}
    kept = tuple(one for one in interfaces if one.name not in gone)
    ordered = tuple(sorted(kept, key=lambda one: one.name))
    changed = dataclasses.replace(now.network, interfaces=ordered)
    return _change(context, now, changed, f"network: {name}")


def _wanted(old: Interface, values: Values) -> Interface:
    given: dict[str, Any] = {}  # Any: the fields of Interface
    for key, name in (
        ("ipv6", "ipv6"),
        ("addresses", "address"),
        ("gateway4", "gateway4"),
        ("gateway6", "gateway6"),
        ("dns", "dns"),
        ("mtu", "mtu"),
    ):
        if values.get(name) is not None:
            given[key] = values[name]
    if values.get("dhcp") is not None:
        given["dhcp4"] = values["dhcp"] == "yes"
    elif any(":" not in text for text in given.get("addresses", ())):
        given["dhcp4"] = False
    if values.get("route") is not None:
        given["routes"] = tuple(_parsed_route(text) for text in values["route"])
    if values.get("vlan") is not None:
        given["vlans"] = tuple(_number(text) for text in values["vlan"])
    return dataclasses.replace(old, **given)


def _parsed_route(text: str) -> Route:
    to, *rest = text.replace(" via ", " ").split()
    if len(rest) > 1:
        remedy = "Write 10.50.0.0/16 via 10.1.2.254."
        raise Problems([Problem("--route", text, "is no route", remedy)])
    return Route(to, rest[0] if rest else "")


def _judged_route(text: str) -> None:
    """Raises: ValueError; whether the router can be reached is judged with the rest."""
    to, *rest = text.replace(" via ", " ").split() or [""]
    if len(rest) > 1:
        raise ValueError("is no route")
    fields.network(to)
    for router in rest:
        fields.address(router)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise Problems([Problem("--vlan", text, "is no VLAN", "Give 1 to 4094.")])
    return int(text)


def _reset(context: Context, values: Values) -> Result:
    name = str(values["interface"])
    now = keeping.load(context)
    if not any(one.name == name for one in now.network.interfaces):
        names = ", ".join(one.name for one in now.network.interfaces) or "none"
        message = "nothing is set for this interface"
        raise Problems([Problem("INTERFACE", name, message, f"There are: {names}.")])
    kept = []
    for one in now.network.interfaces:
        if one.name == name or one.name.startswith(f"{name}."):
            continue
        vlans = tuple(number for number in one.vlans if f"{one.name}.{number}" != name)
        kept.append(dataclasses.replace(one, vlans=vlans))
    wanted = dataclasses.replace(now.network, interfaces=tuple(kept))
    return _change(context, now, wanted, f"network: {name} reset")


def _dns(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    given = {
        key: values[name]
        for key, name in (("dns", "server"), ("search", "search"))
        if values.get(name) is not None
    }
    wanted = dataclasses.replace(now.network, **given)
    return _change(context, now, wanted, "network: name servers")


def _hostname(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    wanted = dataclasses.replace(now.network, hostname=str(values["name"]))
    return _change(context, now, wanted, "host name")


_COMMIT: Final = "It is taken back after 120 s unless confirmed."
_INTERFACE: Final = Argument(
    "interface",
    "text",
    "the interface",
    "as `network show` lists them, or PARENT.VLAN",
    required=True,
    positional=True,
    check=fields.interface_name,
)
VERBS: Final = (
    Verb(
        "network show",
        "show interfaces, addresses, routes and name servers",
        _show,
        examples=(
            "agent-proxy-appliance network show",
            "agent-proxy-appliance network show --json",
        ),
    ),
    Verb(
        "network set",
        "set one interface: DHCP or static, IPv4 and IPv6, routes, MTU, VLANs",
        _set,
        (
            _INTERFACE,
            Argument(
                "dhcp",
                "choice",
                "IPv4 by DHCP",
                "no, where an IPv4 address is given",
                choices=("yes", "no"),
            ),
            Argument(
                "ipv6",
                "choice",
                "auto: as routers and DHCPv6 say",
                choices=("auto", "static", "off"),
            ),
            Argument(
                "address",
                "list",
                "an address; repeatable; '' for none",
                "with prefix: 10.1.2.3/24",
                check=fields.address_with_prefix,
            ),
            Argument(
                "gateway4",
                "text",
                "the default router; '' for none",
                "an IPv4 address",
                check=fields.router(4),
            ),
            Argument(
                "gateway6",
                "text",
                "the default router; '' for none",
                "an IPv6 address",
                check=fields.router(6),
            ),
            Argument(
                "route",
                "list",
                "a further route; repeatable; '' for none",
                "'10.50.0.0/16 via 10.1.2.254'",
                check=_judged_route,
            ),
            Argument(
                "dns",
                "list",
                "a name server; repeatable; '' for none",
                "an IP address",
                check=fields.address,
            ),
            Argument(
                "mtu",
                "number",
                "bytes in a packet",
                "576 to 9000; 0: as the network says",
                low=0,
                high=65535,
            ),
            Argument(
                "vlan",
                "list",
                "a VLAN on it; repeatable; '' for none",
                "1 to 4094",
                check=fields.vlan,
            ),
        ),
        (
            "agent-proxy-appliance network set eth0 --dhcp yes",
            "agent-proxy-appliance network set eth0 --address 10.1.2.3/24 --gateway4 10.1.2.1 "
            "--dns 10.1.2.53 --dry-run",
            "agent-proxy-appliance network set eth0 --vlan 100 --vlan 200",
            "agent-proxy-appliance network set eth0.100 --address 192.168.7.2/24",
        ),
        f"What is left out stays as it is. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
    Verb(
        "network dns",
        "set the name servers and search domains of the whole machine",
        _dns,
        (
            Argument(
                "server",
                "list",
                "a name server; repeatable; '' for none",
                "an IP address",
                check=fields.address,
            ),
            Argument(
                "search",
                "list",
                "a search domain; repeatable; '' for none",
                "example.com",
                check=fields.domain,
            ),
        ),
        ("agent-proxy-appliance network dns --server 10.1.2.53 --search example.com",),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
    Verb(
        "network reset",
        "set nothing for an interface any more; a VLAN is taken away",
        _reset,
        (_INTERFACE,),
        ("agent-proxy-appliance network reset eth0.100",),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
    Verb(
        "hostname set",
        "set the host name",
        _hostname,
        (
            Argument(
                "name",
                "text",
                "the name",
                "letters, digits, hyphens; up to 64",
                required=True,
                positional=True,
                check=fields.hostname,
            ),
        ),
        ("agent-proxy-appliance hostname set node-1.example.com",),
        _COMMIT,
        changes=True,
        confirm=True,
    ),
)
