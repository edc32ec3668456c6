"""The first boot at the console: the answers that a cloud would have given, typed into a form.

Shell (it reads how far the first boot has come). Neighbours: `answers` says what there is to
answer, `first_boot` does it; `makers` opens the form where a machine is not set up yet.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from appliance import answers, first_boot, passwords
from appliance.effects import Effect, Run
from appliance.form import Field, Form
from appliance.form_fields import of_section, repeated
from appliance.system import System
from appliance.verb import Context, Values
from appliance.verbs import named

__all__ = ["form", "is_set_up", "lines", "shown"]

_ASKED: Final = (
    "console.password",
    "upstream.endpoint",
    "platform.networks",
    "proxy.id",
    "hostname",
    "network.1.address",
    "network.1.gateway4",
    "network.dns",
    "time.servers",
    "certificate.names",
    "proxy.secret",
)
_KNOWN: Final = {key.name: key for key in answers.KEYS}


def is_set_up(system: System) -> bool:
    return system.entry(first_boot.COMPLETE) is not None


def lines(system: System) -> list[str]:
    """Return what the first screen says of a machine that is not set up yet."""
    if is_set_up(system):
        return []
    found = first_boot.state(system)
    said = ["WARNING  this machine is not set up yet: press Enter and answer a few questions"]
    said += [f"WARNING  answers from {found.source or 'outside'}: {one}" for one in found.problems]
    return said


def form(context: Context) -> Form:
    """Return the form of the first boot; what was found wrong before stands beside its field."""
    fields = [one for name in _ASKED for one in _fields(name)]
    made = Form("First boot: a few questions", fields, _submit)
    made.refuse(one for one in first_boot.state(context.system).problems if one.value)
    made.chosen = 0
    return made


def _fields(name: str) -> list[Field]:
    """Return the field of an answer; what is typed unseen and chosen here is typed twice."""
    first = _field(name)
    return [first, repeated(first)] if name == "console.password" else [first]


def _field(name: str) -> Field:
    section, _, key = name.rpartition(".")
    required = name in answers.REQUIRED
    known = _KNOWN.get(name.replace(".1.", ".NAME."))
    if known is None or name.startswith("proxy."):
        found = next((one for one in of_section(section, {}) if one.place == key), None)
        if found is not None:
            found.place = found.label = name
            found.text = found.begun_with = ""
            found.required = required
            found.default = "one is made" if name == "proxy.id" else found.default
            return found
    assert known is not None, f"answers.KEYS and the proxy's settings both lack {name}"
    return Field(
        name,
        name,
        sense=f"{known.sense[:1].upper()}{known.sense[1:]}. Such as {known.example}",
        range=known.range,
        default="" if required else known.default,
        judge=_password_wrong if name == "console.password" else lambda text: "",
        secret=name.endswith(("password", "secret")),
        required=required,
    )


def _password_wrong(text: str) -> str:
    return " ".join(f"{one.message}. {one.remedy}" for one in passwords.problems(text))


def shown(values: Values) -> list[str]:
    """Return the answers as they were typed; nothing of what was typed unseen."""
    given = json.loads(str(values["answers"]))["agent-proxy"]
    known = [name for name in _ASKED if name in given]
    width = max(map(len, known), default=0)
    unseen = ("password", "secret")
    return [
        f"  {name:<{width}}  {'(not shown)' if name.endswith(unseen) else given[name]}"
        for name in known
    ]


def _submit(fields: Sequence[Field]) -> Effect:
    """Hand the answers over as user data is written; no password touches a disk."""
    given = {one.place: one.text for one in fields if one.text.strip() and one.same_as is None}
    return Run(named("first-boot run"), {"answers": json.dumps({"agent-proxy": given})})
