"""The console's log-in: one password, and a wait that grows with each wrong one.

Shell by its system. Neighbours: `passwords` judges and compares, `console` asks. The count of wrong
attempts is kept beside the password, so that a restart forgives nothing; the wait is bounded, so
that nobody can lock an operator out for good.
"""

from __future__ import annotations

import json
from typing import Any, Final

from appliance import passwords
from appliance.errors import Problems, Refusal
from appliance.system import System

__all__ = ["attempt", "is_set", "set_password", "wait_s"]

_FREE: Final = 3  # wrong attempts without a wait: people mistype
_LONGEST_S: Final = 300.0
_MODE: Final = 0o600
_SPARE: Final = "/run/agent-proxy/console-attempts.json"


def is_set(system: System) -> bool:
    """Return whether this console has a password yet."""
    return passwords.is_set(system.read(passwords.PATH))


def set_password(system: System, password: str) -> None:
    """Keep a new password; wrong attempts are forgotten. Raises: Problems."""
    problems = passwords.problems(password)
    if problems:
        raise Problems(problems)
    system.write(passwords.PATH, passwords.content(password), mode=_MODE)
    system.remove(_SPARE)


def attempt(system: System, password: str) -> None:
    """Return if it is the password; the attempt is counted before it is compared.

    Raises: Refusal, with how long to wait.
    """
    file = system.read(passwords.PATH)
    count, last = _wrong(system)
    left = wait_s(system)
    if left > 0:
        if last > system.now():  # the clock was set back: the wait is counted from here
            _keep(system, file, count)
        raise Refusal(f"Wait {left:.0f} s before the next attempt")
    # First: somebody who cuts the power to escape the count has spent the attempt.
    _keep(system, file, count + 1)
    if passwords.matches(password, file):
        _keep(system, file, 0)
        return
    left = wait_s(system)
    raise Refusal("Wrong password" + (f". Wait {left:.0f} s" if left >= 1 else ""))


def wait_s(system: System) -> float:
    """Return how long until the next attempt is heard, in seconds."""
    count, last = _wrong(system)
    if count < _FREE:
        return 0.0
    wait = min(_LONGEST_S, 2.0 ** (count - _FREE + 1))
    passed = system.now() - last
    # A clock that was set back must not make it longer than it can be.
    return wait if passed < 0 else max(0.0, wait - passed)


def _wrong(system: System) -> tuple[int, float]:
    """Return how many attempts were wrong, and when the last was."""
    kept = [_read(system.read(path)) for path in (passwords.PATH, _SPARE)]
    newest = max(kept, key=_at)
    try:
        return int(newest.get("wrong", 0)), _at(newest)
    except (ValueError, TypeError):
        return 0, 0.0


def _at(found: dict[str, Any]) -> float:
    try:
        return float(found.get("wrong_at", 0))
    except (ValueError, TypeError):
        return 0.0


def _read(file: bytes | None) -> dict[str, Any]:
    # Any: JSON of ours.
    try:
        found = json.loads(file or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _keep(system: System, file: bytes | None, count: int) -> None:
    """Keep the count; in memory where the disk takes nothing, which is when one must get in."""
    kept = {"wrong": count, "wrong_at": system.now()}
    try:
        system.write(passwords.PATH, json.dumps(_read(file) | kept).encode(), mode=_MODE)
        system.remove(_SPARE)
    except OSError:
        try:
            system.write(_SPARE, json.dumps(kept).encode(), mode=_MODE)
        except OSError as error:
            text = f"The attempt cannot be counted, so it is not heard: {error.strerror}"
            raise Refusal(f"{text}. Mend the disk, or restart the machine") from error
