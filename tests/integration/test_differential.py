"""What the proxy lets through and neither nginx nor HAProxy does, needs a reason."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import Case
from tests.integration import differential, oracles, peers
from tests.integration.differential import PAGE, REASONS, Outcome, Reading
from tests.integration.nodes import AGENT, ROOT, Node
from tests.integration.peers import Origin, Wire

SETTINGS = {
    "timeouts": {"request_head": 0.5, "body_idle": 1, "upstream_answer": 1},
    "upstream": {"connections": 1},
}
LANES = 12
needs_both = pytest.mark.skipif(
    bool(oracles.missing()), reason=f"{oracles.missing()} not installed (apt-get)"
)


@pytest.fixture(scope="module")
def readings(build: Callable[[Any], Node], platform: Origin) -> Iterator[list[Reading]]:
    node = build(SETTINGS)

    def dial() -> Wire:
        return peers.dial(node.address, AGENT)

    def ours(kind: str, case: Case) -> Outcome:
        if kind.startswith("requests"):
            return differential.requests_of_ours(dial, platform, case)
        return differential.answer_of_ours(dial, platform, case)

    try:
        node.start()
        node.wait_until_ready()
        # Short: the path of a UNIX socket has 108 bytes.
        with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="ap-") as home:
            lanes = {
                name: stack.enter_context(oracles.running(name, Path(home) / name, LANES))
                for name in oracles.NAMES
            }
            yield differential.replay(lanes, ours)
    finally:
        node.stop()


@needs_both
def test_nothing_gets_through_that_nginx_and_haproxy_refuse(readings: list[Reading]) -> None:
    page = differential.report(readings, oracles.versions())
    if path := os.environ.get(PAGE):
        Path(path).write_text(page)
    print(page)
    unexplained = [
        f"{one.name}: ours {one.ours}, theirs {one.theirs}"
        for one in readings
        if one.verdict == "looser" and one.name not in REASONS
    ]
    assert not unexplained, "\n".join(unexplained)


@needs_both
def test_the_oracles_read_what_is_meant_to_be_read(readings: list[Reading]) -> None:
    """Or the comparison would say nothing: of what is valid nearly all passes both."""
    for kind in ("requests/valid", "responses/valid"):
        some = [one for one in readings if one.kind == kind]
        assert len(some) >= 20
        for name in oracles.NAMES:
            alike = [one for one in some if name in one.agreeing]
            assert len(alike) >= len(some) * 0.7, (kind, name, len(alike), len(some))


def test_every_reason_is_of_a_case_and_is_written_down() -> None:
    names = {f"{kind}/{case.name}" for kind, case in differential.cases()}
    assert set(REASONS) <= names
    page = (ROOT / "docs" / "security-differential.md").read_text()
    assert "**none**" not in page
    for name, reason in REASONS.items():
        assert f"| `{name}` | {reason} |" in page


@pytest.mark.parametrize(
    ("ours", "nginx", "haproxy", "verdict"),
    [
        ((), (), (), "alike"),
        ((("GET", "/"),), (("GET", "/"),), (), "alike"),
        ((), (("GET", "/"),), (("GET", "/"),), "stricter"),
        ((("GET", "/"),), (("GET", "/"), ("GET", "/2")), (), "stricter"),
        ((("GET", "/"),), (), (), "looser"),
        ((("GET", "/"), ("GET", "/2")), (("GET", "/"),), (), "looser"),
        ((("GET", "/1"),), (("GET", "/2"),), (("GET", "/2"),), "looser"),
    ],
)
def test_verdicts(ours: Outcome, nginx: Outcome, haproxy: Outcome, verdict: str) -> None:
    case = Case("x", b"", [(b"GET", False)], False, ["END"], [])
    reading = Reading("requests/valid", case, ours, {"nginx": nginx, "HAProxy": haproxy})
    assert reading.verdict == verdict
