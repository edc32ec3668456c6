"""One line of `check`, whatever others have said in it."""

from __future__ import annotations

import pytest

from proxy import status_text
from proxy.outcome import failed, passed, printable


def test_a_line_has_verdict_name_detail_and_remedy() -> None:
    assert str(passed("listener", "can be used")) == "PASS  listener                can be used"
    line = str(failed("listener", "port 1", "Give another."))
    assert line == "FAIL  listener                port 1. Give another."


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("407 No \x1b[2J\x07", "407 No \\x1b[2J\\x07"),
        ("a\r\nPASS  b", "a\\x0d\\x0aPASS  b"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("\u202eabc", "\\x202eabc"),
        ("gr\u00fcn", "gr\u00fcn"),
    ],
)
def test_no_terminal_obeys_what_somebody_else_has_said(said: str, shown: str) -> None:
    """A forward proxy's reason phrase ends up in details."""
    assert printable(said) == shown
    assert shown in str(failed("upstream", said, "Ask it."))
    assert status_text.lines({"lastErrors": [{"detail": said, "blame": "proxy"}]})[-1].count(shown)
