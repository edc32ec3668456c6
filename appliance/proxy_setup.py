"""Changes of proxy.ini: wanted text -> every problem, or the plan that puts it in force.

Values. Neighbours: `ini_edit` changes the text, proxy.settings judges it; the verbs of settings,
zones, platform and upstream make their changes here. The file is checked as a whole before
anything is written: a value that contradicts another one is refused beside its own field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from appliance import errors, ini_edit
from appliance.errors import Problem, Problems
from appliance.ini_edit import Change
from appliance.places import Places
from appliance.plan import Action, Plan, Write
from proxy import settings
from proxy.declaration import Declaration
from proxy.errors import ConfigurationProblems
from proxy.settings import DECLARATIONS, Settings
from proxy.values import from_text

__all__ = ["check", "declared", "edited", "judge", "place", "plan", "take_up"]

_OWNER: Final = "root:agent-proxy"
_MODE: Final = 0o640
_SECRET_SUFFIX: Final = "_file"


def place(name: str) -> tuple[tuple[str, ...], str]:
    """Return section and key of "upstream.endpoint" or "zones.NAME.key". Raises: Problems."""
    section, _, key = name.rpartition(".")
    top, dot, inner = section.partition(".")
    path = (top, inner) if dot else (top,)
    if declared(path, key) is None:
        known = sorted({one.section for one in DECLARATIONS})
        remedy = f"Write SECTION.KEY, such as upstream.endpoint. Sections: {', '.join(known)}."
        raise Problems([Problem(name, "", "there is no such setting", remedy)])
    return path, key


def declared(path: tuple[str, ...], key: str) -> Declaration | None:
    """Return the declaration of a setting, or of the secret that `key`, a *_file, points to."""
    section = path[0] if len(path) == 1 else f"{path[0]}.*"
    for one in DECLARATIONS:
        if one.section == section:
            if one.key == key or (one.is_secret and f"{one.key}{_SECRET_SUFFIX}" == key):
                return one
    return None


def check(section: str, key: str) -> Callable[[str], object]:
    """Return what judges a text for a setting alone, as Argument.check does."""
    declaration = next(one for one in DECLARATIONS if (one.section, one.key) == (section, key))
    return lambda text: from_text(text, declaration)


def edited(text: str, changes: Sequence[Change]) -> str:
    """Return the text of proxy.ini with the changes made. Raises: Problems."""
    problems = []
    for change in changes:
        try:
            text = ini_edit.changed(text, [change])
        except ValueError as error:
            named = f"[{'/'.join(change.section)}] {change.key}"
            problems.append(Problem(named, "", str(error), "Type the value again."))
    if problems:
        raise Problems(problems)
    return text


def judge(text: str, conf: str, read: Callable[[str], str], node: str = "") -> Settings:
    """Return the settings that a text means. Raises: Problems, all of them."""
    base = Places(conf).base
    try:
        return settings.parse(text.splitlines(), base=base, file=conf, read=read, node=node)
    except ConfigurationProblems as found:
        raise errors.of_configuration(found) from None


def plan(
    title: str,
    places: Places,
    text: str,
    before: Settings | None,
    after: Settings,
    running: Iterable[str],
    *,
    extra: tuple[Write, ...] = (),
) -> Plan:
    """Return the plan for a judged text. `running` are the workers that must take it up."""
    write = Write(places.conf, text.encode(), _MODE, _OWNER)
    restart = before is None or before.admin != after.admin
    return Plan(title, (*extra, write), actions=take_up(places, running, restart=restart))


def take_up(places: Places, running: Iterable[str], *, restart: bool = False) -> tuple[Action, ...]:
    """Return what lets running workers read their files again; nothing where none runs.

    A restart goes one after the other, so that the others serve meanwhile.
    """
    names = tuple(running)
    if not names:
        return ()
    if not restart:
        argv = places.supervisorctl("signal", "HUP", *names)
        return (Action(argv, "letting the workers read their settings again"),)
    return tuple(
        Action(places.supervisorctl("restart", name), f"restarting {name}", timeout_s=120.0)
        for name in names
    )
