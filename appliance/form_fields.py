"""The fields of a form, made of what a verb takes or of the proxy's declared settings.

Pure. Neighbours: `form` shows them. Nothing about a value is said twice: senses, ranges, defaults
and choices are those of Verb.arguments and of proxy.declarations, as on the command line and in
conf/proxy.ini.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from appliance.form import Field
from appliance.ini_edit import Change
from appliance.verb import Argument, Values, Verb
from proxy.declaration import Declaration
from proxy.declarations import DECLARATIONS
from proxy.values import from_text

__all__ = ["changes", "of_section", "of_verb", "repeated", "values"]

_NO_YES: Final = ("no", "yes")
_AGAIN: Final = " again"
_NONE: Final = ("''", '""')  # as on the command line: not "as it is", but nothing
# These ask for a passphrase that is known; every other secret is a new one.
_KNOWN_SECRETS: Final = frozenset({"backup restore"})


def of_verb(verb: Verb) -> list[Field]:
    """Return one field for each argument of a verb; a new secret has a second one."""
    fields: list[Field] = []
    for one in verb.arguments:
        fields.append(_of_argument(one))
        if one.kind == "secret" and verb.name not in _KNOWN_SECRETS:
            fields.append(repeated(fields[-1]))
    return fields


def repeated(first: Field) -> Field:
    """Return the field that a new secret is typed into once more."""
    sense = "The same once more: what is typed is not shown."
    place = f"{first.place}{_AGAIN}"
    return Field(place, f"{first.label} again", sense=sense, secret=True, same_as=first)


def _of_argument(one: Argument) -> Field:
    choices = _NO_YES if one.kind == "flag" else one.choices
    sense = one.sense.replace("repeatable; ", "").replace("; repeatable", "")
    sense = sense[:1].upper() + sense[1:] + "."
    if one.kind == "list":
        sense += " Several are separated by commas."
    return Field(
        one.name,
        one.name.replace("_", " "),
        sense=sense,
        range=one.range or (", ".join(choices) if choices else ""),
        default="no" if one.kind == "flag" else one.default,
        judge=lambda text: _wrong(one, text),
        choices=choices,
        secret=one.kind == "secret",
        paste=one.kind == "lines",
        required=one.required,
    )


def _wrong(one: Argument, text: str) -> str:
    """Return what is wrong with one text alone, and the way to correct it."""
    if one.kind == "number":
        return _number_wrong(one, text)
    if one.check is None:
        return ""
    value = _value(one, text)
    remedy = f"Give {one.range}." if one.range else "See the line below."
    for part in value if isinstance(value, tuple) else (value,) if value else ():
        try:
            one.check(part)
        except ValueError as error:
            return (
                f"{part!r} {error}. {remedy}" if isinstance(value, tuple) else f"{error}. {remedy}"
            )
    return ""


def _number_wrong(one: Argument, text: str) -> str:
    text = text.strip()
    high = one.high or 999_999_999
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return f"is not a whole number. Give {one.low} to {high}."
    if not one.low <= int(text) <= high:
        return f"is outside {one.low} to {high}. Give a number between them."
    return ""


def values(verb: Verb, fields: Sequence[Field]) -> Values:
    """Return what was typed as the verb's values; what was left empty is None."""
    texts = {one.place: one.text for one in fields}
    return {one.name: _value(one, texts[one.name]) for one in verb.arguments}


def _value(one: Argument, text: str) -> Any:
    # Any: what the argument's kind says.
    if one.kind == "flag":
        return text == "yes"
    if one.kind == "secret":
        return text or None
    if one.kind == "lines":
        return text if text.strip() else None
    text = text.strip()
    if not text:
        return None
    if text in _NONE:
        return () if one.kind == "list" else ""
    if one.kind == "number":
        return int(text)
    if one.kind == "list":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def of_section(section: str, now: Mapping[str, str]) -> list[Field]:
    """Return the fields of "upstream" or "zones.NAME", with what is in force.

    Secrets are not among them: they are kept in files, which `settings secret` writes.
    """
    return [_of_setting(one, now) for one in _declared(section) if not one.is_secret]


def _declared(section: str) -> list[Declaration]:
    top, dot, _ = section.partition(".")
    wanted = f"{top}.*" if dot else top
    return [one for one in DECLARATIONS if one.section == wanted]


def _of_setting(one: Declaration, now: Mapping[str, str]) -> Field:
    choices = _NO_YES if one.kind == "flag" else one.choices
    return Field(
        one.key,
        one.key,
        now.get(one.key, one.default),
        sense=f"{one.sense} If wrong: {one.wrong}",
        range=one.range,
        default=one.default or "not set",
        judge=lambda text: _setting_wrong(one, text),
        choices=choices,
    )


def _setting_wrong(one: Declaration, text: str) -> str:
    try:
        from_text(text, one)
    except ValueError as error:
        return f"{error}. Give {one.range}."
    return ""


def changes(section: str, fields: Sequence[Field]) -> list[Change]:
    """Return what to change in proxy.ini: the fields that were changed, no others."""
    top, dot, inner = section.partition(".")
    path = (top, inner) if dot else (top,)
    return [Change(path, one.place, one.text.strip()) for one in fields if one.is_changed]
