"""The console's password: judged, kept as a scrypt hash, compared.

Values, but for the salt. Neighbours: `first_boot` and `password set` write the file, the console's
login compares and adds what it knows of wrong attempts. The file has `password` and whatever the
login keeps beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any, Final

from appliance.errors import Problem

__all__ = ["PATH", "content", "is_set", "judged", "matches", "problems"]

PATH: Final = "/var/lib/agent-proxy/console.json"
_MINIMUM, _MAXIMUM = 12, 256
_DISTINCT_MINIMUM: Final = 5
_SALT_BYTES: Final = 16
# 64 MiB and about 0.2 s for each attempt (2026-11): dear for a guesser, bearable for a person.
_N, _R, _P = 1 << 16, 8, 1
_MEMORY_BYTES: Final = 256 * _N * _R


def problems(password: str, place: str = "console.password") -> list[Problem]:
    """Return why a password is refused; its value is never in the text."""
    if not _MINIMUM <= len(password) <= _MAXIMUM:
        message = f"has {len(password)} characters"
        remedy = f"Give {_MINIMUM} to {_MAXIMUM}: a few words are easy to remember."
        return [Problem(place, "", message, remedy)]
    if any(not one.isprintable() for one in password) or password != password.strip():
        message = "begins or ends with a blank, or has characters that cannot be typed"
        return [Problem(place, "", message, "Use letters, digits, signs and blanks between them.")]
    if len(set(password)) < _DISTINCT_MINIMUM:
        message = f"has fewer than {_DISTINCT_MINIMUM} different characters"
        return [Problem(place, "", message, "Give a few words.")]
    return []


def judged(password: str) -> None:
    """Raises: ValueError with the first thing that is wrong."""
    for one in problems(password):
        raise ValueError(one.message)


def content(password: str) -> bytes:
    """Return what the file holds for a new password; wrong attempts are forgotten with it."""
    salt = secrets.token_bytes(_SALT_BYTES)
    stored = {"salt": salt.hex(), "n": _N, "r": _R, "p": _P}
    return json.dumps({"password": {**stored, "hash": _hash(password, stored).hex()}}).encode()


def is_set(file: bytes | None) -> bool:
    return _stored(file) is not None


def matches(password: str, file: bytes | None) -> bool:
    """Return whether it is the password; never where none is set."""
    stored = _stored(file)
    if stored is None or len(password) > _MAXIMUM:
        return False
    return hmac.compare_digest(_hash(password, stored), bytes.fromhex(stored["hash"]))


def _stored(file: bytes | None) -> dict[str, Any] | None:
    # Any: JSON of ours.
    try:
        found = json.loads(file or b"{}").get("password")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) and found.get("hash") else None


def _hash(password: str, stored: dict[str, Any]) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=bytes.fromhex(stored["salt"]),
        n=stored["n"],
        r=stored["r"],
        p=stored["p"],
        maxmem=_MEMORY_BYTES,
        dklen=32,
    )
