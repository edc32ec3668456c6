"""What later versions call differently in proxy.ini: an older file as one that this version reads.

Values; `python -m appliance.migrations` reads a file from its input and writes the new one, so that
an upgrade asks the release it installs. Neighbour: `ini_edit` changes lines and keeps the rest.

A change of the settings adds one entry to MIGRATIONS; none is ever taken away. A key is moved with
its value; where the new one is there already, the old line goes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from appliance import ini_edit
from appliance.ini_edit import Change
from proxy import inifile

__all__ = ["MIGRATIONS", "Moved", "migrated"]


class Moved(NamedTuple):
    """A setting that version `since` calls otherwise. `to` None: it has gone, with its value."""

    since: str
    section: tuple[str, ...]
    key: str
    to: tuple[tuple[str, ...], str] | None


# 0.1.0 is the first version: nothing has been called differently yet.
MIGRATIONS: Final[tuple[Moved, ...]] = ()


def migrated(text: str, moves: Sequence[Moved] = MIGRATIONS) -> tuple[str, list[str]]:
    """Return the text as this version reads it, and a line for each setting that was changed."""
    lines = []
    for move in moves:
        entries = {
            (one.section, one.key): one.value
            for one in inifile.read(text.splitlines(), "proxy.ini").entries
        }
        value = entries.get((move.section, move.key))
        if value is None:
            continue
        old = f"[{'/'.join(move.section)}] {move.key}"
        text = ini_edit.changed(text, [Change(move.section, move.key, None)])
        if move.to is None:
            lines.append(f"{old} has gone with {move.since}; its value was {value!r}")
        elif move.to in entries:
            lines.append(f"{old} has gone with {move.since}: its successor was set already")
        else:
            section, key = move.to
            text = ini_edit.changed(text, [Change(section, key, value)])
            lines.append(f"{old} is [{'/'.join(section)}] {key} since {move.since}")
    return text, lines


if __name__ == "__main__":
    new, said = migrated(sys.stdin.read())
    sys.stdout.write(new)
    sys.stderr.writelines(f"{line}\n" for line in said)
