"""The verbs of the firewall: what it lets in, and what an operator opens beside the proxy.

Shell. Neighbours: `firewall` judges and renders, `keeping` applies. The proxy's own port and SSH
have no verb here: they follow their own settings.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final

from appliance import facts, fields, firewall, keeping
from appliance.errors import Problem, Problems
from appliance.model import Appliance, Opening
from appliance.plan import Plan
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]

_LOOK: Final = ("systemctl", "start", "agent-proxy-firewall-look.service")
_FOUND: Final = "/run/agent-proxy/firewall.json"


def _show(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    settings, _ = facts.configured(context.system, context.conf)
    lines = []
    if settings is None:
        lines.append("The proxy's port is shut: proxy.ini has problems.")
    else:
        lines.append(f"{settings.listen.port}/tcp from whom proxy.ini names: `settings show`")
    if now.access.ssh:
        lines.append(f"22/tcp from {', '.join(now.access.networks) or 'everywhere'} (SSH)")
    lines += [f"{_named(one)} from {_sources(one)}" for one in now.firewall.openings]
    lines.append(f"ping is {'answered' if now.firewall.ping else 'not answered'}")
    lines.append("Nothing else is let in.")
    refused = _refused(context)
    if refused:
        lines.append(f"Refused at the proxy's port in the last 10 minutes: {', '.join(refused)}")
    data = {"set": keeping.as_data(now.firewall), "ssh": now.access.ssh, "refused": refused}
    return Result(tuple(lines), data)


def _refused(context: Context) -> list[str]:
    """Return who was refused lately, where the firewall can be asked: that takes root."""
    if context.system.dry or context.system.run(_LOOK).code:
        return []
    try:
        document = json.loads(context.system.read(_FOUND) or b"{}")
    except ValueError:
        return []
    found: list[str] = []
    for one in document.get("nftables", ()):
        kept: dict[str, Any] = one.get("set") or {}  # Any: what nft writes as JSON
        if str(kept.get("name", "")).startswith("refused"):
            found += [str(each["elem"]["val"]) for each in kept.get("elem", ())]
    return found


def _open(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    wanted = Opening(values["port"], values.get("protocol") or "tcp", tuple(values["from"] or ()))
    others = _others(now, wanted)
    title = f"firewall: {_named(wanted)} opened"
    return _change(context, now, title, openings=_ordered([*others, wanted]))


def _close(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    meant = Opening(values["port"], values.get("protocol") or "tcp")
    others = _others(now, meant)
    if len(others) == len(now.firewall.openings):
        there = ", ".join(map(_named, now.firewall.openings)) or "none"
        message = "is not among the openings"
        remedy = f"There are: {there}. SSH: `ssh off`; the proxy's: its settings."
        raise Problems([Problem("PORT", _named(meant), message, remedy)])
    return _change(context, now, f"firewall: {_named(meant)} closed", openings=tuple(others))


def _ping(context: Context, values: Values) -> Result:
    now = keeping.load(context)
    on = values["state"] == "on"
    return _change(context, now, f"firewall: ping {values['state']}", ping=on)


def _change(context: Context, now: Appliance, title: str, **given: Any) -> Result:
    """Raises: Problems, Refusal. `given` are fields of model.Firewall."""
    wanted = dataclasses.replace(now, firewall=dataclasses.replace(now.firewall, **given))
    settings, _ = facts.configured(context.system, context.conf)
    problems = firewall.validate(settings, wanted)
    if problems:
        raise Problems(problems)
    return keeping.keep(context, wanted, Plan(title), confirm=True)


def _others(now: Appliance, meant: Opening) -> list[Opening]:
    key = (meant.port, meant.protocol)
    return [one for one in now.firewall.openings if (one.port, one.protocol) != key]


def _ordered(openings: list[Opening]) -> tuple[Opening, ...]:
    return tuple(sorted(openings, key=lambda one: (one.port, one.protocol)))


def _named(one: Opening) -> str:
    return f"{one.port}/{one.protocol}"


def _sources(one: Opening) -> str:
    return ", ".join(one.networks) or "everywhere"


_PORT: Final = Argument(
    "port", "number", "the port", "1 to 65535", required=True, positional=True, low=1, high=65535
)
_PROTOCOL: Final = Argument(
    "protocol", "choice", "tcp or udp", default="tcp", choices=("tcp", "udp")
)
_COMMIT: Final = "It is taken back after 120 s unless confirmed."

VERBS: Final = (
    Verb(
        "firewall show",
        "show what is let in, and who was refused lately",
        _show,
        examples=("agent-proxy-appliance firewall show --json",),
        more="Who was refused is known to root only.",
    ),
    Verb(
        "firewall open",
        "let in one more port, for what runs beside the proxy",
        _open,
        (
            _PORT,
            _PROTOCOL,
            Argument(
                "from",
                "list",
                "only from here; repeatable; left out: from everywhere",
                "networks such as 10.1.0.0/16",
                check=fields.network,
            ),
        ),
        (
            "agent-proxy-appliance firewall open 9100 --from 10.1.0.0/16",
            "agent-proxy-appliance firewall open 161 --protocol udp --from 10.1.2.9 --dry-run",
        ),
        "A port that is open already gets these sources instead of those it had. "
        f"The proxy's own port and SSH follow their own settings. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
    Verb(
        "firewall close",
        "close a port that was opened by `firewall open`",
        _close,
        (_PORT, _PROTOCOL),
        ("agent-proxy-appliance firewall close 9100",),
        f"Connections that exist stay. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
    Verb(
        "firewall ping",
        "answer ping, or not",
        _ping,
        (
            Argument(
                "state",
                "choice",
                "whether ping is answered",
                choices=("on", "off"),
                required=True,
                positional=True,
            ),
        ),
        ("agent-proxy-appliance firewall ping off",),
        f"What IPv6 needs to work is let in all the same. {_COMMIT}",
        changes=True,
        confirm=True,
    ),
)
