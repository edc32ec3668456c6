"""Makes the screens that need to know this machine: forms of settings and interfaces, the editor.

Shell (it reads). Neighbours: `console` asks for them by the effect Open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance import facts, form_fields, keeping, login, menu, proxy_setup, settings_verbs, wizard
from appliance.draft import FormDraft
from appliance.editor import Editor, Fault
from appliance.effects import Back, Effect, Open, Run, Screen
from appliance.entry import Login
from appliance.errors import Problems, Refusal
from appliance.form import Field, Form
from appliance.model import Interface
from appliance.screens import Entry, Menu
from appliance.verb import Context, Verb
from appliance.verbs import VERBS, named

__all__ = ["screen"]

_LINE: Final = re.compile(r"\(line (\d+)\)")


def screen(effect: Open, context: Context) -> Screen | Run:
    """Return what `effect` names: a screen, or a verb to run. Raises: Problems, Refusal."""
    if effect.what == "login":
        if not wizard.is_set_up(context.system):
            return wizard.form(context)
        return Login(new=not login.is_set(context.system))
    if effect.what == "topic":
        return menu.of_topic(effect.of)
    if effect.what == "verb":
        return _of_verb(effect.of, context)
    if effect.what == "section":
        return _of_section(effect.of, context)
    if effect.what == "interface":
        return _of_interface(effect.of, context)
    if effect.what == "draft":
        kept = effect.of
        return (
            _form_again(kept, context)
            if isinstance(kept, FormDraft)
            else _editor(context, kept.text)
        )
    if effect.what == "paste":
        return _paste(effect.of)
    raise AssertionError(f"unreachable: {effect.what}")


def _of_verb(verb: Verb, context: Context) -> Screen | Run:
    if verb.name == "settings set":
        return _sections(context)
    if verb.name == "settings edit":
        return _editor(context)
    if verb.name == "network set":
        return _interfaces(context)
    if not verb.arguments:
        return Run(verb, {})
    fields = form_fields.of_verb(verb)
    if verb.name == "zones add":
        found = facts.gather(context.system, context.conf)
        interface = next(one for one in fields if one.place == "interface")
        there = ", ".join(one.name for one in found.interfaces)
        interface.range = f"one of {there}" if there else interface.range
    return _form(verb, fields)


def _form(verb: Verb, fields: Sequence[Field]) -> Form:
    return Form(
        menu.titled(verb),
        fields,
        lambda fields: Run(verb, form_fields.values(verb, fields)),
        about=f"{verb.sense[:1].upper()}{verb.sense[1:]}. {verb.more}".rstrip(),
    )


def _form_again(kept: FormDraft, context: Context) -> Form:
    """Return the form that was left, with what had been typed. Raises: Problems, Refusal."""
    of: object = kept.of
    if kept.what == "verb":
        of = next((verb for verb in VERBS if verb.name == kept.of), None)
    if of is None or (kept.what == "section" and of not in _loaded(context)):
        raise Refusal(f"{kept.title} is not there any more. Discard what was typed")
    made = screen(Open(kept.what, of), context)
    assert isinstance(made, Form), "only forms are kept as such"
    for field in made.fields:
        field.text = kept.values.get(field.place, field.text)
    made.note = " As it was left. What is typed unseen was not kept."
    made.origin = Open(kept.what, of)
    return made


def _interfaces(context: Context) -> Menu:
    """Return the interfaces that are there, and those that are only set."""
    found = facts.gather(context.system, context.conf)
    there = {one.name: ", ".join(one.addresses) or one.state for one in found.interfaces}
    kept = {one.name: "set, but not there" for one in keeping.load(context).network.interfaces}
    entries = [
        Entry(name, sense, Open("interface", name)) for name, sense in {**kept, **there}.items()
    ]
    return Menu("Network set: which interface", entries)


def _of_interface(name: str, context: Context) -> Form:
    """Return the form of one interface; what is set now stands where a value is left empty."""
    verb = named("network set")
    found = (one for one in keeping.load(context).network.interfaces if one.name == name)
    now = next(found, None)
    fields = form_fields.of_verb(verb)
    fields[0].text = fields[0].begun_with = name
    for one in fields[1:]:
        one.default = _stays(one.place, now) if now is not None else "not set here"
    form = _form(verb, fields)
    form.chosen = 1
    return form


def _stays(place: str, now: Interface) -> str:
    """Return what of an interface stays as it is where nothing is typed."""
    yes = "yes" if now.dhcp4 else "no"
    routes = [f"{one.to} via {one.via}" for one in now.routes]
    known: dict[str, object] = {
        "dhcp": yes, "ipv6": now.ipv6, "address": now.addresses, "gateway4": now.gateway4,
        "gateway6": now.gateway6, "route": routes, "dns": now.dns, "mtu": now.mtu or "",
        "vlan": now.vlans,
    }  # fmt: skip
    value = known[place]
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    stays = f"stays {text or 'not set'}"
    return f"{stays}; no where an IPv4 address is given" if place == "dhcp" else stays


def _loaded(context: Context) -> dict[str, dict[str, str]]:
    text = settings_verbs.text_of(context)
    found = proxy_setup.judge(text, context.conf, facts.secret_reader(context.system))
    return settings_verbs.values_of(found)


def _sections(context: Context) -> Menu:
    found = _loaded(context)
    told = _told(settings_verbs.text_of(context))
    entries = [
        Entry(name, _sense(name, found[name]) or told.get(name, ""), Open("section", name))
        for name in found
    ]
    return Menu("Proxy settings", entries)


def _told(text: str) -> dict[str, str]:
    """Return what the comment above each section says of it, its first sentence."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in text.splitlines():
        if line.startswith("[") and not line.startswith("[["):
            sentence = " ".join(above).partition(". ")[0].rstrip(".")
            found[line.strip("[] ")] = sentence[:1].lower() + sentence[1:]
        comment = line.removeprefix("#").strip(" -")
        above = [*above, comment] if line.startswith("#") and comment else []
    return found


def _sense(section: str, now: dict[str, str]) -> str:
    """Return what of a section is not as it comes, as far as a line has room."""
    fields = form_fields.of_section(section, now)
    # A path is shown as a whole, its default as it is in the file.
    set_here = [
        f"{one.place}={one.text}"
        for one in fields
        if one.text and one.text != one.default and not one.text.endswith(f"/{one.default}")
    ]
    text = ", ".join(set_here)
    return text if len(text) <= 56 else f"{text[:53]}..."


def _of_section(section: str, context: Context) -> Form:
    edit = named("settings edit")

    def submit(fields: Sequence[Field]) -> Effect:
        changes = form_fields.changes(section, fields)
        if not changes:
            return Back()
        text = proxy_setup.edited(settings_verbs.text_of(context), changes)
        return Run(edit, {"text": text})

    fields = form_fields.of_section(section, _loaded(context)[section])
    return Form(f"Proxy settings: [{section}]", fields, submit)


def _editor(context: Context, begun: str | None = None) -> Editor:
    read = facts.secret_reader(context.system)

    def judge(text: str) -> Sequence[Fault]:
        try:
            proxy_setup.judge(text, context.conf, read)
        except Problems as problems:
            return [_fault(str(one)) for one in problems.problems]
        return ()

    edit = named("settings edit")
    text = settings_verbs.text_of(context)
    return Editor(
        "proxy.ini",
        text,
        lambda text: Run(edit, {"text": text}),
        judge,
        begun=begun,
        is_kept=True,
    )


def _fault(text: str) -> Fault:
    found = _LINE.search(text)
    return Fault(int(found[1]) if found else 0, _LINE.sub("", text).replace(" .", "."))


def _paste(field: Field) -> Editor:
    def done(text: str) -> Effect:
        field.text = text
        field.refused = ""
        return Back()

    return Editor(f"Paste: {field.label}", field.text, done)
