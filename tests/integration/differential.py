"""The corpus, read by the proxy, by nginx and by HAProxy: where do they differ?

    python -m tests.integration.differential    replay, compare, write docs/security-differential.md

Two oracles are no proof that a reading is right; but what we alone let through deserves a reason.
Where they forward and we refuse we are stricter, which is meant. What is compared:

requests   the whole requests that reached the peer: method, target, body
answers    the answer that reached the caller whole: status, body

Cases about sizes are left out: the limits are set, not read.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import h11

from tests.corpus import Case, load
from tests.integration.oracles import Lane
from tests.integration.peers import Aborted, Origin, Wire
from tests.integration.recording import Recorder

_OURS_S = 4.0
"""Longer than any limit of the node under test."""
PAGE = "DIFFERENTIAL_PAGE"
"""The environment's word for the file that the test writes its report to."""
_SIZES = re.compile(r"too-(?:long|large|many)|endless|longest|largest|fields-most")
Outcome = tuple[tuple[object, ...], ...]
"""What got through, one entry a message, in order."""


class Reading(NamedTuple):
    """What three readers made of one case."""

    kind: str
    case: Case
    ours: Outcome
    theirs: dict[str, Outcome]

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.case.name}"

    @property
    def agreeing(self) -> list[str]:
        """Return the oracles that let through exactly what we do."""
        return [name for name, outcome in self.theirs.items() if outcome == self.ours]

    @property
    def verdict(self) -> str:
        """alike: as one of them at least; stricter: less than one of them; looser: neither does."""
        if self.agreeing:
            return "alike"
        ours = self.ours
        if any(outcome[: len(ours)] == ours for outcome in self.theirs.values()):
            return "stricter"
        return "looser"


REASONS: dict[str, str] = {}
"""What we alone let through, or read otherwise than both, and why."""


def cases() -> list[tuple[str, Case]]:
    """Return (kind, case) of all that is compared; answers to one request only."""
    found = []
    for kind in ("requests/valid", "requests/invalid", "responses/valid", "responses/invalid"):
        for case in load(kind):
            one = len(case.requests) == 1 and case.expected[-1][:4] != "REST"
            if not _SIZES.search(case.name) and (kind.startswith("requests") or one):
                found.append((kind, case))
    return found


# --- one case through one reader ----------------------------------------------------------------


def through(lane: Lane, kind: str, case: Case) -> Outcome:
    """Return what an oracle makes of the case."""
    if kind.startswith("requests"):
        recorder = Recorder()
        lane.peer.use(recorder.script)
        with contextlib.closing(lane.dial()) as sock:
            _send(sock, case.wire)
            _all(sock)
        lane.peer.disconnect()
        return _recorded(recorder)
    lane.peer.use(answering(case))
    with contextlib.closing(lane.dial()) as sock:
        _send(sock, asked(case))
        answer = read_answer(case, lambda: _some(sock))
    lane.peer.disconnect()
    return answer


def requests_of_ours(dial: Callable[[], Wire], platform: Origin, case: Case) -> Outcome:
    """Return what the proxy makes of a case of requests; `dial` connects to it as an agent."""
    recorder = Recorder()
    platform.use(recorder.script)
    with contextlib.closing(dial()) as wire:
        wire.sock.settimeout(_OURS_S)
        _send(wire.sock, case.wire)
        whole = sum(line == "END" for line in case.expected)
        valid, methods = case.expected[-1] == "END", _methods(case)
        try:
            answers = 0
            while not valid or answers < whole:
                answers += wire.response(methods[min(answers, len(methods) - 1)]).status != 100
        except (EOFError, Aborted, TimeoutError):
            pass  # closed, or taken although it should not have been, and kept open
    platform.disconnect()
    return _recorded(recorder)


def answer_of_ours(dial: Callable[[], Wire], platform: Origin, case: Case) -> Outcome:
    """Return what the proxy makes of a case of answers."""
    platform.use(answering(case))
    with contextlib.closing(dial()) as wire:
        wire.send(asked(case))

        def some() -> bytes | None:
            try:
                return wire.some()
            except Aborted:
                return None

        answer = read_answer(case, some)
    platform.disconnect()
    return answer


def _methods(case: Case) -> list[str]:
    heads = [line.split(" ")[1] for line in case.expected if line.startswith("HEAD ")]
    return [*heads, "GET"]  # the last for what is refused


def _recorded(recorder: Recorder) -> Outcome:
    return tuple((one.method, one.target, one.body) for one in recorder.requests)


def answering(case: Case) -> Callable[[Wire], None]:
    def script(wire: Wire) -> None:
        wire.head()
        wire.send(case.wire)
        if not case.eof:
            wire.to_end()

    return script


def asked(case: Case) -> bytes:
    method, upgrading = case.requests[0]
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n" if upgrading else b""
    return b"%b / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, upgrade)


def read_answer(case: Case, some: Callable[[], bytes | None]) -> Outcome:
    """Return status and body of a whole answer that is not the reader's own, as h11 sees it.

    `some` gives what comes next, b"" at a clean end, None where it broke off.
    """
    method, upgrading = case.requests[0]
    headers = [("Host", "a")]
    headers += [("Connection", "Upgrade"), ("Upgrade", "websocket")] if upgrading else []
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=headers))
    reader.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                data = some()
                if data is None:
                    return ()
                reader.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    return ((101, b""),)
            elif isinstance(event, h11.Response):
                status = event.status_code
                if status >= 500 and b" %d" % status not in case.wire:
                    return ()  # the reader's own word
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return ((status, body),) if isinstance(event, h11.EndOfMessage) else ()
    except h11.RemoteProtocolError:
        return ()


def _send(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # refused while we still send
        sock.sendall(data)


def _some(sock: socket.socket) -> bytes | None:
    try:
        return sock.recv(65536)
    except OSError:
        return None


def _all(sock: socket.socket) -> None:
    while _some(sock):
        pass


# --- all of them, and what differs --------------------------------------------------------------


def replay(lanes: dict[str, list[Lane]], ours: Callable[[str, Case], Outcome]) -> list[Reading]:
    """Replay all cases; `ours` is called for one after the other, the oracles have their lanes.

    What only we let through is asked once more, alone: a slow machine may look like a refusal.
    """
    work = cases()

    def on_lane(name: str, number: int) -> list[tuple[int, Outcome]]:
        every = range(number, len(work), len(lanes[name]))
        return [(index, through(lanes[name][number], *work[index])) for index in every]

    with ThreadPoolExecutor(sum(map(len, lanes.values())) + 1) as pool:
        mine = pool.submit(lambda: [ours(kind, case) for kind, case in work])
        jobs = {
            name: [pool.submit(on_lane, name, number) for number in range(len(lanes[name]))]
            for name in lanes
        }
        theirs = {name: dict(pair for job in jobs[name] for pair in job.result()) for name in jobs}
        outcomes = mine.result()
    found = []
    for index, (kind, case) in enumerate(work):
        reading = Reading(kind, case, outcomes[index], {n: theirs[n][index] for n in lanes})
        if reading.verdict == "looser":
            again = {name: through(lanes[name][0], kind, case) for name in lanes}
            reading = Reading(kind, case, ours(kind, case), again)
        found.append(reading)
    return found


def report(readings: list[Reading], versions: dict[str, str]) -> str:
    """Return docs/security-differential.md."""
    lines = [
        "# Read by three: the corpus through the proxy, nginx and HAProxy",
        "",
        "Written by `python -m tests.integration.differential`. `integration/test_differential.py`",
        "does the same in every `make test`, and fails where the proxy alone lets something",
        "through that has no reason below. Each file of [tests/corpus](../tests/corpus) but those",
        f"about sizes was sent to the proxy, to nginx {versions['nginx']} and to HAProxy",
        f"{versions['HAProxy']}, each in front of a peer that records what arrives. A message",
        "counts as let through when the peer, or the caller, got the whole of it.",
        "",
        "| cases | as both | as one, the other lets more through | less than both | "
        "as one, the other lets less through | looser |",
        "|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(reading.kind for reading in readings):
        some = [reading for reading in readings if reading.kind == kind]
        count = Counter(_column(reading) for reading in some)
        cells = [str(count[column]) for column in _COLUMNS]
        lines.append(f"| {kind}, {len(some)} | {' | '.join(cells)} |")
    lines += ["", "## Looser than both, or read otherwise", ""]
    looser = [reading for reading in readings if reading.verdict == "looser"]
    if looser:
        lines += ["| case | reason |", "|---|---|"]
        lines += [f"| `{one.name}` | {REASONS.get(one.name, '**none**')} |" for one in looser]
    else:
        lines.append("None.")
    for column, title in (
        (_FEWER, "One lets less through, or reads it otherwise"),
        (_BOTH, "Both let it through, we do not"),
    ):
        lines += ["", f"## {title}", "", "| case | what is in it | differing |", "|---|---|---|"]
        for one in readings:
            if _column(one) == column:
                lines.append(f"| `{one.name}` | {_comment(one)} | {_differing(one)} |")
    return "\n".join(lines) + "\n"


_ALL, _MORE, _BOTH, _FEWER, _LOOSER = "all", "more", "both", "fewer", "looser"
_COLUMNS = (_ALL, _MORE, _BOTH, _FEWER, _LOOSER)


def _column(reading: Reading) -> str:
    if reading.verdict != "alike":
        return _LOOSER if reading.verdict == "looser" else _BOTH
    others = [out for name, out in reading.theirs.items() if name not in reading.agreeing]
    if not others:
        return _ALL
    return _MORE if all(out[: len(reading.ours)] == reading.ours for out in others) else _FEWER


def _differing(reading: Reading) -> str:
    ours, said = reading.ours, []
    for name, outcome in reading.theirs.items():
        if outcome != ours:
            less, more = ours[: len(outcome)] == outcome, outcome[: len(ours)] == ours
            said.append(f"{name} {'less' if less else 'more' if more else 'otherwise'}")
    return ", ".join(said)


def _comment(reading: Reading) -> str:
    """Return what the file says of itself."""
    path = Path(load.__code__.co_filename).parent / reading.kind / f"{reading.case.name}.http"
    lines = path.read_text("latin-1").splitlines()
    said = " ".join(line[1:].strip() for line in lines if line.startswith("# "))
    return said.replace("|", "\\|") or reading.case.name.replace("-", " ")


if __name__ == "__main__":
    import pytest  # the proxy under test is started by the fixtures

    os.environ[PAGE] = str(Path(__file__).parents[2] / "docs" / "security-differential.md")
    test = str(Path(__file__).with_name("test_differential.py"))
    sys.exit(pytest.main(["-p", "no:cacheprovider", "-q", test]))
