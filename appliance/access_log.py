"""The proxy's access log as values: who called, when, and how it ended.

Values. Neighbours: diagnosis above reads the last lines of the files. Both formats are known, plain
and JSON; a line that is neither (the first of a tail is cut) is left out.
"""

from __future__ import annotations

import json
from typing import NamedTuple

__all__ = ["Seen", "parse"]


class Seen(NamedTuple):
    """One exchange or tunnel that has ended."""

    time: str  # ISO 8601, UTC
    caller: str
    source: str
    zone: str
    target: str
    status: int

    @property
    def is_registration(self) -> bool:
        return self.caller == "platform" and self.target == "registration"

    @property
    def is_tunnel(self) -> bool:
        return self.status == 101


def parse(text: str) -> list[Seen]:
    """Return the lines in order of time."""
    found = [seen for line in text.splitlines() if (seen := _seen(line)) is not None]
    return sorted(found, key=lambda seen: seen.time)


def _seen(line: str) -> Seen | None:
    try:
        fields = json.loads(line) if line.startswith("{") else _plain(line)
        return Seen(
            str(fields["time"]),
            str(fields["caller"]),
            str(fields["source"]),
            str(fields["zone"]),
            str(fields["target"]),
            int(fields["status"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _plain(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)
