"""Plans are values; what they would change can be shown, secrets cannot."""

from __future__ import annotations

from appliance.plan import Action, Plan, Write, differences, joined, rendered


def test_joined_keeps_the_order_and_does_each_action_once_at_the_end() -> None:
    reload, other = Action(("reload",), "r"), Action(("other",), "o")
    one = Plan("one", (Write("/a", b"1"),), ("/x",), (reload,))
    two = Plan("two", (Write("/b", b"2"),), (), (other, reload))
    assert joined("both", one, two) == Plan(
        "both", (Write("/a", b"1"), Write("/b", b"2")), ("/x",), (other, reload)
    )


def test_joined_keeps_every_action_that_only_takes_back() -> None:
    one, two = Action((), "", ("undo", "1")), Action((), "", ("undo", "2"))
    assert joined("both", Plan("", actions=(one,)), Plan("", actions=(two,))).actions == (one, two)


def test_differences_show_lines_but_nothing_of_a_secret() -> None:
    files = {"/a": b"one\ntwo\n", "/s": b"old secret", "/gone": b"was\n", "/same": b"same"}
    plan = Plan(
        "x",
        (
            Write("/a", b"one\nthree\n"),
            Write("/s", b"new secret", secret=True),
            Write("/new", b"n\n"),
            Write("/same", b"same"),
        ),
        ("/gone", "/never"),
    )
    shown = differences(plan, files.get)
    assert {"-two", "+three", "+n", "-was", "/s: changed, not shown"} <= set(shown)
    assert "secret" not in "\n".join(shown).replace("/s: changed, not shown", "")
    assert not any("same" in line for line in shown)


def test_what_undoes_an_action() -> None:
    assert Action(("a",), "").undo == ("a",)
    assert Action(("a",), "", ("b",)).undo == ("b",)
    assert Action(("a",), "", ()).undo == ()


def test_a_file_of_ours_says_so() -> None:
    content = rendered(["x"], comment=";")
    assert content == b"; Written by agent-proxy-appliance; changes are overwritten\nx\n"
