"""What verbs said, in the order an operator reads it."""

from __future__ import annotations

from appliance import telling
from appliance.plan import difference

_INI = "/opt/agent-proxy/conf/proxy.ini"
_RULES = "/etc/agent-proxy/firewall.nft"


def changed(path: str, old: str, new: str) -> list[str]:
    return difference(old.encode(), new.encode(), path)


def test_outcomes_come_first_then_what_differs_without_what_does_not() -> None:
    text = "".join(f"# comment {number}\n" for number in range(30))
    lines = [
        *changed(_RULES, "old rule\n", "new rule\n"),
        *changed(_INI, f"{text}id =\n", f"{text}id = 45BC\n"),
        "testing",
        "PASS  upstream  fine",
        "FAIL  ready  no worker",
        "ROLLED BACK: ready worked before. The old state is in force again.",
        "Applied. It is taken back in 120 s unless confirmed: agent-proxy-appliance confirm",
    ]
    assert telling.after(lines) == [
        "ROLLED BACK: ready worked before. The old state is in force again.",
        "FAIL  ready  no worker",
        "PASS  upstream  fine",
        "testing",
        "",
        _INI,
        "   31 - id =",
        "   31 + id = 45BC",
        "",
        _RULES,
        "    1 - old rule",
        "    1 + new rule",
    ]


def test_lines_that_look_like_heads_inside_a_difference_are_lines() -> None:
    """A line "-- x" that is taken away is shown by a difference as "--- x"."""
    shown = telling.after(changed(_INI, "a\n-- x\n", "a\n++ y\n"))
    assert shown == [_INI, "    2 - -- x", "    2 + ++ y"]


def test_new_and_removed_files_say_so_and_certificates_are_not_read_out() -> None:
    body = "\n".join("A" * 64 for _ in range(9))
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    assert telling.after(difference(None, pem.encode(), "/a.pem")) == [
        "/a.pem: new",
        "    1 + -----BEGIN CERTIFICATE-----",
        "    2 + ...",
        "   11 + -----END CERTIFICATE-----",
    ]
    assert telling.after(difference(b"x\n", None, "/a"))[0] == "/a: removed"


def test_what_would_be_run_is_shown_and_what_is_the_same_each_time_is_not() -> None:
    would = [
        "would write /etc/x (3 bytes, 0644 root:root)",
        "would run systemctl start agent-proxy-rollback.timer",
        "would run /opt/v/bin/supervisorctl -s unix:///run/s.sock signal HUP agent-proxy:worker-0",
    ]
    assert telling.before(["dry run: nothing was changed"], would) == [
        "Then:",
        "  run supervisorctl signal HUP agent-proxy:worker-0",
    ]
    assert not telling.changes_nothing([], would)
    assert telling.changes_nothing(["dry run: nothing was changed"], would[:2])


def test_what_came_of_it_stands_above_what_was_said_on_the_way() -> None:
    steps = ["diagnosing", "PASS  disk  fine", "FAIL  clock  wrong", "asking"]
    assert telling.with_steps(["/x holds these files"], steps) == [
        "/x holds these files",
        "",
        "FAIL  clock  wrong",
        "PASS  disk  fine",
        "diagnosing",
        "asking",
    ]
    assert telling.with_steps([], ["one"]) == ["one"]
    assert telling.with_steps(["one"], []) == ["one"]
