r"""Messages as files, one conversation each; the file's name says the rule that it shows.

Line ends of a file are layout and mean nothing; bytes are written as escapes: \r \n \t \\ \xNN,
and \{x*9} for x nine times. Lines that begin with a hash sign speak to the reader or the test:

    #  words                       why this case exists
    #? GET | GET upgrade | HEAD    the request that a response answers, one line for each
    #! eof                         the peer closes after the last byte
    #= HEAD POST /x length 5       events, in order; bodies joined
    #= BODY hello
    #= END | REST bytes            REST: what is left after a 101
    #= 400 BadMessage              the refusal, wherever the bytes were split
    #> Accept: */*                 a line of the head that goes on, where an agent sent it

Limits in the corpus are small, so that every boundary can be tried: see LIMITS.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from proxy.heads import HeadLimits

LIMITS = HeadLimits(head_bytes=512, fields=12, line_bytes=128)
_HERE = Path(__file__).parent
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\{(.)\*(\d+)\}|([rnt\\]))")
_PLAIN = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


class Case(NamedTuple):
    """One file: what is sent and what must come of it."""

    name: str
    wire: bytes
    requests: list[tuple[bytes, bool]]
    eof: bool
    expected: list[str]
    forwarded: list[bytes]


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code, repeated, times, letter = match.groups()
        if code:
            return chr(int(code, 16))
        return repeated * int(times) if repeated else _PLAIN[letter]

    return _ESCAPE.sub(plain, text)


def _read(path: Path) -> Case:
    wire: list[str] = []
    asked: list[tuple[bytes, bool]] = []
    expected: list[str] = []
    forwarded: list[bytes] = []
    eof = False
    for line in path.read_text("latin-1").splitlines():
        mark, said = line[:2], line[3:]
        if mark == "#?":
            method, _, option = said.partition(" ")
            asked.append((method.encode(), option == "upgrade"))
        elif mark == "#!":
            eof = said == "eof"
        elif mark == "#=":
            expected.append(_unescape(said))
        elif mark == "#>":
            forwarded.append(_unescape(said).encode("latin-1"))
        elif mark != "# ":
            wire.append(_unescape(line))
    data = "".join(wire).encode("latin-1")
    return Case(path.stem, data, asked or [(b"GET", False)], eof, expected, forwarded)


def load(folder: str) -> list[Case]:
    """Return the cases of `folder`, such as "requests/valid", by name."""
    return [_read(path) for path in sorted((_HERE / folder).glob("*.http"))]
