"""What the stand-in platform saw, one line each; never a token, a key, a body or a query."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path
from typing import TypedDict

from tests.fakes.wire import Address, show_address

_ESCAPED = {code: f"\\x{code:02x}" for code in [*range(0x20), 0x7F]}


class Entry(TypedDict):
    number: int
    time: str
    what: str  # registration handshake periodic connected disconnected call command refused request
    source: str  # address and port of the connection, as the platform saw it
    path: str
    identity: dict[str, str]  # Agent-Proxy-Id, -Zone, -Source, Agent-Route, Forwarded, Via
    result: str


class Journal:
    """Keeps entries in memory and, with a path, appends them to a file as lines."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._entries: list[Entry] = []
        self._changed = threading.Condition()

    def add(
        self, what: str, peer: Address | None, path: str, identity: dict[str, str], result: str
    ) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with self._changed:
            entry = Entry(
                number=len(self._entries) + 1,
                time=now.replace("+00:00", "Z"),
                what=what,
                source=show_address(peer) if peer else "-",
                path=path.partition("?")[0],
                identity=identity,
                result=result,
            )
            self._entries.append(entry)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(render(entry) + "\n")
            self._changed.notify_all()

    def after(self, number: int = 0) -> list[Entry]:
        with self._changed:
            return self._entries[number:]

    def wait_for(self, what: str, timeout_s: float = 10.0, *, result: str = "") -> Entry:
        """The first entry of that kind (and, if given, whose result begins so), when it is there.

        Raises: TimeoutError with everything seen so far.
        """

        def found() -> list[Entry]:
            return [
                e for e in self._entries if e["what"] == what and e["result"].startswith(result)
            ]

        with self._changed:
            if not self._changed.wait_for(found, timeout_s):
                seen = "\n".join(render(entry) for entry in self._entries)
                raise TimeoutError(f"no {what} within {timeout_s} s; journal:\n{seen}")
            return found()[0]


def render(entry: Entry) -> str:
    shown = " ".join(f"{name}={value}" for name, value in entry["identity"].items() if value)
    line = (
        f"{entry['time']} {entry['what']:<12} {entry['source']:<21} "
        f"{entry['path']:<34} {entry['result']:<24} {shown}"
    )
    return line.rstrip().translate(_ESCAPED)
