"""The manual that proxy.ini is stays as it is: a change touches the lines of its key only."""

from __future__ import annotations

import difflib
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import ini_edit
from appliance.ini_edit import Change
from proxy import settings
from proxy.settings import DECLARATIONS, Endpoint

_MANUAL = (Path(__file__).parents[3] / "conf" / "proxy.ini").read_text()


def delta(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def change(section: str, key: str, value: str | None) -> Change:
    return Change(tuple(section.split("/")), key, value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([change("proxy", "id", "45BC")], ["- id =", "+ id = 45BC"]),
        ([change("listen", "port", "2012")], ["- port = 2002", "+ port = 2012"]),
        ([change("proxy", "secret_file", "var/s")], ["+ secret_file = var/s"]),
        ([change("platform", "networks", "")], []),
        ([change("upstream", "http_proxy_user", "a#b")],
         ["- http_proxy_user =", '+ http_proxy_user = "a#b"']),
        ([change("upstream", "verify", None)], ["- verify = yes"]),
        ([change("upstream", "http_proxy_password", None)], []),
        ([change("nothing", "here", None)], []),
        ([change("zones/z1", "interface", "eth1"), change("zones/z1", "port", "2004")],
         ["+ [[z1]]", "+ interface = eth1", "+ port = 2004", "+ "]),
        ([change("peers/OTHER", "role", "farther")], ["+ [[OTHER]]", "+ role = farther", "+ "]),
    ],
)  # fmt: skip
def test_only_the_lines_of_the_key_change(changes: list[Change], expected: list[str]) -> None:
    assert sorted(delta(_MANUAL, ini_edit.changed(_MANUAL, changes))) == sorted(expected)


def test_a_new_line_stands_below_its_example_and_a_zone_inside_its_section() -> None:
    text = ini_edit.changed(
        _MANUAL, [change("proxy", "secret_file", "s"), change("zones/z", "interface", "e")]
    )
    lines = text.splitlines()
    assert lines[lines.index("secret_file = s") - 1] == "# secret_file ="
    assert lines.index("[zones]") < lines.index("[[z]]") < lines.index("[peers]")
    found = settings.parse(text.splitlines(), read=lambda path: "0" * 32)
    assert [zone.interface for zone in found.zones] == ["e"]


def test_a_zone_is_removed_and_nothing_else() -> None:
    one = ini_edit.changed(_MANUAL, [change("zones/a", "interface", "e1")])
    two = ini_edit.changed(one, [change("zones/b.c", "interface", "e2")])
    assert ini_edit.removed(two, ("zones", "b.c")) == one
    assert ini_edit.removed(one, ("zones", "a")) == _MANUAL
    assert ini_edit.removed(one, ("zones", "never")) == one


def test_line_ends_of_windows_and_a_missing_last_one_are_kept() -> None:
    assert ini_edit.changed("[a]\r\nk = 1\r\nl = 2", [change("a", "k", "3")]) == (
        "[a]\r\nk = 3\r\nl = 2\n"
    )
    assert ini_edit.changed("", [change("a", "k", "1")]) == "\n[a]\nk = 1\n"
    assert ini_edit.changed("[a]\n  k=1\n", [change("a", "k", "2")]) == "[a]\n  k= 2\n"


@pytest.mark.parametrize("value", ["a\nb = c", "a\rb", "\x00", "a\x7f", "'#\""])
def test_what_no_line_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError):
        ini_edit.changed(_MANUAL, [change("proxy", "node", value)])


@hypothesis.settings(deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_what_is_written_is_read_back(value: str) -> None:
    """Whatever is typed: refused, or exactly that value and no other line."""
    try:
        text = ini_edit.changed("[proxy]\nid = x\n", [change("proxy", "node", value)])
    except ValueError:
        return
    from proxy import inifile

    found = inifile.read(text.splitlines(), "f")
    if found.problems:  # a backspace escape, say: the file is then refused as a whole
        return
    assert [(one.key, one.value) for one in found.entries] == [
        ("id", "x"),
        ("node", value.strip()),
    ]


def test_every_declared_setting_can_be_set_in_the_manual() -> None:
    """Each setting finds its line, in its own section, and the file still parses."""
    for one in DECLARATIONS:
        if one.is_secret or one.section.endswith(".*"):
            continue
        text = ini_edit.changed(_MANUAL, [Change((one.section,), one.key, one.default)])
        assert text == _MANUAL, f"{one.section} {one.key}: its default is in the file already"
    text = ini_edit.changed(_MANUAL, [change("upstream", "endpoint", "a.example:1")])
    assert settings.parse(text.splitlines()).upstream.endpoints == (Endpoint("a.example", 1),)
