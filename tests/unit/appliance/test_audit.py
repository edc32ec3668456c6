"""What the journal is told of changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import audit
from appliance.verb import Argument, Result, Verb
from tests.unit.appliance.machines import Machine

_VERB = Verb(
    "upstream proxy",
    "set the proxy on the way to the platform",
    lambda context, values: Result(),
    (
        Argument("url", "text", "its address"),
        Argument("password", "secret", "its password"),
        Argument("ca", "lines", "its authority"),
        Argument("names", "list", "names"),
        Argument("boot", "flag", "at boot"),
    ),
)


def test_a_line_says_who_did_what_with_which_end() -> None:
    values = {"url": "http://p:1", "names": ("a", "b"), "boot": False}
    line = audit.line(_VERB, "operator (10.1.2.3)", values, "done")
    assert line == (
        'verb="upstream proxy" who="operator (10.1.2.3)" result=done url=http://p:1 names=a,b'
    )


def test_secrets_and_contents_are_not_in_it() -> None:
    line = audit.line(_VERB, "root", {"password": "hunter2hunter2", "ca": "-----BEGIN"}, "done")
    assert line == 'verb="upstream proxy" who=root result=done password=set ca=set'


def test_a_value_cannot_forge_another_line_or_field() -> None:
    line = audit.line(_VERB, "root", {"url": 'x" who=nobody\nverb=fake'}, "done")
    assert line.endswith('url="x\\" who=nobody?verb=fake"')


def test_a_long_value_is_cut() -> None:
    assert len(audit.line(_VERB, "root", {"url": "x" * 5000}, "done")) < 300


def test_it_goes_to_the_journal_under_its_own_name(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    audit.record(machine, _VERB, "root", {}, "refused")
    assert machine.audited == [
        "logger --tag agent-proxy-audit --priority auth.notice -- "
        'verb="upstream proxy" who=root result=refused'
    ]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"SUDO_USER": "operator", "SSH_CONNECTION": "10.1.2.3 5 10.1.2.4 22"},
            "operator (10.1.2.3)",
        ),
        ({"USER": "root"}, "root"),
        ({"USER": "root", "INVOCATION_ID": "ab"}, "root (unit)"),
    ],
)
def test_who_it_was(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    for name in ("SUDO_USER", "USER", "SSH_CONNECTION", "INVOCATION_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert audit.who() == expected
