"""The journal of the one change that is not final: what was there before it, kept on the disk.

Shell. Neighbours: `commit` writes it before the first byte is changed, takes back by it, and
removes it as the last step; `system` writes it whole or not at all.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.errors import Problem, Problems, Refusal
from appliance.plan import Plan
from appliance.system import System

__all__ = ["FOLDER", "Before", "Journal", "forget", "load", "store", "written_for"]

FOLDER: Final = "/var/lib/agent-proxy/transaction"
_PATH: Final = f"{FOLDER}/journal.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Before:
    """What a path held before the change. `content` None: there was nothing."""

    path: str
    content: str | None = field(repr=False)  # base64: files need not be text
    mode: int = 0o644
    owner: str = "root:root"
    link: str = ""
    by_action: bool = False  # a program wrote it, and its reverse does so again

    @property
    def held(self) -> bytes | None:
        return None if self.content is None else base64.b64decode(self.content)


@dataclass(frozen=True, slots=True)
class Journal:
    """One change. `state` is one of those in commit's table, `undo` what takes actions back."""

    title: str
    state: str
    boot_id: str
    deadline: float  # of System.uptime
    before: tuple[Before, ...]
    undo: tuple[tuple[str, ...], ...]


def written_for(system: System, plan: Plan) -> Journal:
    """Return the journal of a plan that has not begun. Raises: Refusal."""
    paths = list(dict.fromkeys([*(write.path for write in plan.writes), *plan.removals]))
    written = [path for action in plan.actions for path in action.files]
    before = (
        *(_before(system, path) for path in paths),
        *(dataclasses.replace(_before(system, path), by_action=True) for path in written),
    )
    undo = tuple(action.undo for action in plan.actions if action.undo)
    return Journal(plan.title, "applying", system.boot_id(), 0.0, before, undo)


def _before(system: System, path: str) -> Before:
    entry = system.entry(path)
    if entry is None:
        return Before(path, None)
    if entry.kind == "link":
        return Before(path, None, link=entry.target)
    content = system.read(path) if entry.kind == "file" else None
    if content is None:
        raise Refusal(f"{path} is no file and cannot be replaced. Move it away first")
    return Before(path, base64.b64encode(content).decode(), entry.mode, entry.owner)


def store(system: System, journal: Journal) -> None:
    """Raises: OSError, LookupError; the journal before it is still there then."""
    system.folder(FOLDER, mode=0o700)
    document = {"version": _VERSION, **dataclasses.asdict(journal)}
    system.write(_PATH, json.dumps(document).encode(), mode=0o600)


def forget(system: System) -> None:
    """From here on the change is final, or was never there. Raises: OSError."""
    system.remove(_PATH)


def load(system: System) -> Journal | None:
    """Return the journal; None: no change is open. Raises: Problems for a damaged one."""
    content = system.read(_PATH)
    if content is None:
        return None
    try:
        document: dict[str, Any] = json.loads(content)
        if document.pop("version") != _VERSION:
            raise ValueError("another version")
        before = tuple(Before(**one) for one in document.pop("before"))
        undo = tuple(tuple(argv) for argv in document.pop("undo"))
        return Journal(before=before, undo=undo, **document)
    except (ValueError, KeyError, TypeError) as error:
        # Written atomically by us: this is damage to the disk, and no state can be told.
        remedy = "Restore a backup of the settings, then remove this file."
        problem = Problem(_PATH, "", f"cannot be read ({error})", remedy)
        raise Problems([problem]) from error
