"""The proxy's access log as values: who called, when, and how it ended.

Values. Neighbours: diagnosis above reads the last lines of the files. Both formats are known, plain
and JSON; a line that is neither (the first of a tail is cut) is left out.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

__all__ = ["Seen", "line", "parse"]

# What the proxy writes into a field; anything else was not written by it.
_WORD: Final = re.compile(r"[A-Za-z0-9.:/_+-]{1,120}")


class Seen(NamedTuple):
    """One exchange or tunnel that has ended."""

    time: str  # ISO 8601, UTC
    caller: str
    source: str
    zone: str
    target: str
    status: int
    end: str = "-"
    ms: str = "-"

    @property
    def is_registration(self) -> bool:
        return self.caller == "platform" and self.target == "registration"

    @property
    def is_tunnel(self) -> bool:
        return self.status == 101


def parse(text: str) -> list[Seen]:
    """Return the lines in order of time."""
    found = [seen for one in text.splitlines() if (seen := _seen(one)) is not None]
    return sorted(found, key=lambda seen: seen.time)


def line(seen: Seen) -> str:
    """Return a line of the known fields alone, each of which holds no more than it should."""
    pairs = ((name, str(value)) for name, value in seen._asdict().items())
    return " ".join(f"{k}={v if _WORD.fullmatch(v) else '?'}" for k, v in pairs) + "\n"


def _seen(text: str) -> Seen | None:
    try:
        fields = json.loads(text) if text.startswith("{") else _plain(text)
        return Seen(
            str(fields["time"]),
            str(fields["caller"]),
            str(fields["source"]),
            str(fields["zone"]),
            str(fields["target"]),
            int(fields["status"]),
            str(fields.get("end", "-")),
            str(fields.get("ms", "-")),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _plain(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in text.split() if "=" in word)
