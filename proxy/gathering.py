"""Entries of a file and the environment, brought together as one value per declared setting.

Layer 0 (pure). Neighbours: `inifile` below, `settings` above. Nothing stops here: what cannot be
used is a problem, and its default stands in, so that all problems are found in one go.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from proxy.declaration import Declaration
from proxy.declarations import DECLARATIONS, SECTIONS
from proxy.errors import Problem
from proxy.inifile import Entry, IniFile
from proxy.values import Value, from_text

__all__ = ["Gathered", "gather"]

_Path: TypeAlias = tuple[str, ...]
_Place: TypeAlias = tuple[_Path, str]

_SECRET_FILE_CHARACTERS: Final = 4096
_ZONE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_PEER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
_NAMES: Final = {
    "zones": (_ZONE_NAME, "Take 1 to 32 of A-Z a-z 0-9 . _ -, beginning with a letter or digit."),
    "peers": (_PEER_ID, "A peer is named by its proxy ID: 4 to 64 of A-Z a-z 0-9 . _ -."),
}
_BY_SECTION: Final = {
    section: {one.key: one for one in DECLARATIONS if one.section == section}
    for section in SECTIONS
}


@dataclass(slots=True)
class Gathered:
    """Values by section ("zones/NAME" for subsections) and field, and where they came from."""

    values: dict[str, dict[str, Value]] = field(default_factory=dict)
    lines: dict[_Place, int] = field(default_factory=dict)
    sections: dict[_Path, int] = field(default_factory=dict)
    zones: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a secret may be, beside the file itself."""

    file: str
    base: str
    environ: Mapping[str, str]
    read: Callable[[str], str] | None


def gather(
    ini: IniFile,
    *,
    file: str,
    base: str,
    environ: Mapping[str, str],
    read: Callable[[str], str] | None,
) -> Gathered:
    """Return a value for every declared setting, and every problem on the way."""
    source = _Source(file, base, environ, read)
    gathered = Gathered(sections=ini.sections, problems=list(ini.problems))
    usable = {path for path in ini.sections if _is_known(path, gathered, file)}
    entries: dict[_Place, Entry] = {}
    for entry in ini.entries:
        if entry.section in usable or not entry.section:
            _place(entry, entries, gathered.problems, file)
    gathered.lines = {place: entry.line for place, entry in entries.items()}
    gathered.zones = tuple(path[1] for path in usable_in(ini, usable, "zones"))
    gathered.peers = tuple(path[1] for path in usable_in(ini, usable, "peers"))
    paths: list[_Path] = [(one,) for one in SECTIONS if not one.endswith(".*")]
    paths += [path for path in ini.sections if path in usable and len(path) == 2]
    for path in paths:
        declared = _BY_SECTION[_kind_of(path)].values()
        gathered.values["/".join(path)] = {
            one.field: _value(one, path, entries, gathered.problems, source) for one in declared
        }
    return gathered


def usable_in(ini: IniFile, usable: set[_Path], top: str) -> list[_Path]:
    """Return the subsections of `top` in file order."""
    return [path for path in ini.sections if path in usable and path[0] == top and len(path) == 2]


def _kind_of(path: _Path) -> str:
    return path[0] if len(path) == 1 else f"{path[0]}.*"


def _is_known(path: _Path, gathered: Gathered, file: str) -> bool:
    tops = [section.removesuffix(".*") for section in SECTIONS]
    shown = f"[{path[0]}]" if len(path) == 1 else f"[[{path[1]}]]"
    line = gathered.sections[path]
    if path[0] not in tops:
        if len(path) == 1:
            remedy = _suggestion(path[0], tops, "[{}]")
            gathered.problems.append(
                Problem(file, line, shown, "", "there is no section of this name", remedy)
            )
        return False
    if len(path) == 1:
        return True
    if path[0] not in _NAMES:
        message = f"there are no sections inside [{path[0]}]"
        remedy = "Sections inside sections belong into [zones] and [peers] only."
        gathered.problems.append(Problem(file, line, shown, "", message, remedy))
        return False
    pattern, remedy = _NAMES[path[0]]
    if pattern.fullmatch(path[1]):
        return True
    gathered.problems.append(
        Problem(file, line, shown, "", f"this is no name for one of the {path[0]}", remedy)
    )
    return False


def _place(entry: Entry, entries: dict[_Place, Entry], problems: list[Problem], file: str) -> None:
    """File the entry, if such a setting exists. Values of unknown keys are not shown: a misspelt
    secret would be among them."""
    if not entry.section:
        remedy = "Put it below the [section] it belongs to."
        message = "this key stands before the first section"
        problems.append(Problem(file, entry.line, entry.key, "", message, remedy))
        return
    known = _BY_SECTION.get(_kind_of(entry.section), {})
    names = [*known, *(f"{key}_file" for key, one in known.items() if one.is_secret)]
    if entry.key in names:
        entries[entry.section, entry.key] = entry
        return
    elsewhere = [one.section for one in DECLARATIONS if one.key == entry.key]
    remedy = _suggestion(entry.key, names, "{}")
    if not names:
        remedy = f"Put it below a [[name]] inside [{entry.section[0]}]."
    elif elsewhere and not remedy.startswith("Did"):
        remedy = f"It belongs into [{elsewhere[0].removesuffix('.*')}]."
    key = f"[{'/'.join(entry.section)}] {entry.key}"
    message = "there is no such setting in this section"
    problems.append(Problem(file, entry.line, key, "", message, remedy))


def _suggestion(name: str, known: Iterable[str], form: str) -> str:
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {form.format(close[0])}?"
    return "Known are " + ", ".join(form.format(one) for one in names) + "."


def _value(
    one: Declaration,
    path: _Path,
    entries: Mapping[_Place, Entry],
    problems: list[Problem],
    source: _Source,
) -> Value:
    entry = entries.get((path, one.key))
    if one.is_secret:
        return _secret(one, path, entries, problems, source)
    if entry is None:
        return _joined(from_text(one.default, one), one, source.base)
    try:
        return _joined(from_text(entry.value, one), one, source.base)
    except ValueError as error:
        # An address with an @ may have a password in it.
        shown = "" if one.kind == "url" and "@" in entry.value else entry.value[:80]
        key = f"[{'/'.join(path)}] {one.key}"
        problems.append(Problem(source.file, entry.line, key, shown, str(error), _remedy(one)))
        return from_text(one.default, one)


def _remedy(one: Declaration) -> str:
    unit = f" {one.unit}" if one.unit else ""
    return f"Give {one.range}{unit}, or leave it out for {one.default or 'nothing'}."


def _joined(value: Value, one: Declaration, base: str) -> Value:
    if one.kind != "path" or not isinstance(value, str):
        return value
    return _path(value, base)


def _path(path: str, base: str) -> str:
    if not path or path.startswith("/") or base in ("", "."):
        return path
    return f"{base.rstrip('/')}/{path}"


def _secret(
    one: Declaration,
    path: _Path,
    entries: Mapping[_Place, Entry],
    problems: list[Problem],
    source: _Source,
) -> Value:
    """Return the secret from the environment, its own file, or the configuration file."""
    variable = f"AGENT_PROXY_{one.section}_{one.key}".upper()
    plain = entries.get((path, one.key))
    kept = entries.get((path, f"{one.key}_file"))
    name, line = f"[{one.section}] {one.key}", 0
    text = source.environ.get(variable, "")
    try:
        if text:
            name = variable
        elif plain and kept and plain.value and kept.value:
            line = plain.line
            raise ValueError(f"this is given here and in {kept.key} (line {kept.line})")
        elif kept and kept.value:
            name, line = f"[{one.section}] {kept.key}", kept.line
            text = _secret_file(_path(kept.value, source.base), source)
        elif plain:
            line, text = plain.line, plain.value
        return from_text(text, one)
    except ValueError as error:
        remedy = f"Give {one.range}, in one of {one.key}, {one.key}_file and {variable}."
        problems.append(Problem(source.file, line, name, "", str(error), remedy))
        return from_text("", one)


def _secret_file(path: str, source: _Source) -> str:
    if source.read is None:
        raise ValueError(f"the file {path} cannot be read from here")
    try:
        text = source.read(path)
    except OSError as error:
        raise ValueError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the file {path} is not text") from None
    if not text.strip():
        raise ValueError(f"the file {path} is empty")
    if len(text) > _SECRET_FILE_CHARACTERS:
        raise ValueError(f"the file {path} is too large for a secret")
    return text
