"""Makes the screens that need to know this machine: forms of settings, the editor, the countdown.

Shell (it reads). Neighbours: `console` asks for them by the effect Open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance import commit, facts, form_fields, login, menu, proxy_setup, settings_verbs, wizard
from appliance.editor import Editor, Fault
from appliance.effects import Back, Effect, Open, Run, Screen
from appliance.entry import Login
from appliance.errors import Problems
from appliance.form import Field, Form
from appliance.screens import Countdown, Entry, Menu
from appliance.system import System
from appliance.verb import Context, Verb
from appliance.verbs import named

__all__ = ["Countdown", "countdown", "screen"]

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
    if effect.what == "paste":
        return _paste(effect.of)
    raise AssertionError(f"unreachable: {effect.what}")


def _of_verb(verb: Verb, context: Context) -> Screen | Run:
    if verb.name == "settings set":
        return _sections(context)
    if verb.name == "settings edit":
        return _editor(context)
    if not verb.arguments:
        return Run(verb, {})
    return Form(
        verb.name,
        form_fields.of_verb(verb),
        lambda fields: Run(verb, form_fields.values(verb, fields)),
    )


def _loaded(context: Context) -> dict[str, dict[str, str]]:
    text = settings_verbs.text_of(context)
    found = proxy_setup.judge(text, context.conf, facts.secret_reader(context.system))
    return settings_verbs.values_of(found)


def _sections(context: Context) -> Menu:
    found = _loaded(context)
    entries = [Entry(name, _sense(name, found[name]), Open("section", name)) for name in found]
    return Menu("Proxy settings", entries)


def _sense(section: str, now: dict[str, str]) -> str:
    """Return what of a section is not as it comes, as far as a line has room."""
    fields = form_fields.of_section(section, now)
    set_here = [f"{one.place}={one.text}" for one in fields if one.text not in (one.default, "")]
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


def _editor(context: Context) -> Editor:
    read = facts.secret_reader(context.system)

    def judge(text: str) -> Sequence[Fault]:
        try:
            proxy_setup.judge(text, context.conf, read)
        except Problems as problems:
            return [_fault(str(one)) for one in problems.problems]
        return ()

    edit = named("settings edit")
    text = settings_verbs.text_of(context)
    return Editor("proxy.ini", text, lambda text: Run(edit, {"text": text}), judge)


def _fault(text: str) -> Fault:
    found = _LINE.search(text)
    return Fault(int(found[1]) if found else 0, _LINE.sub("", text).replace(" .", "."))


def _paste(field: Field) -> Editor:
    def done(text: str) -> Effect:
        field.text = text
        field.refused = ""
        return Back()

    return Editor(f"Paste: {field.label}", field.text, done)


def countdown(title: str, lines: Sequence[str], system: System) -> Countdown:
    """Return the screen of a change that waits to be confirmed."""

    def left() -> float | None:
        found = commit.waiting(system)
        return found.left_s if found is not None else None

    # What the self-test said comes first: whether to confirm hangs on it.
    told = sorted(lines, key=lambda line: not line.startswith(("PASS", "FAIL", "SKIP")))
    return Countdown(title, told, named("confirm"), named("rollback"), left)
