"""The console without a terminal: keys from a list, views into a list, and what must not happen."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import commit, draft, first_boot, login
from appliance.console import Console
from appliance.editor import Editor
from appliance.effects import Run
from appliance.errors import Refusal
from appliance.form import Field, Form
from appliance.plan import Plan, Write
from appliance.screens import Menu, Text, Working
from appliance.system import Fetched
from appliance.verb import CONF, Argument, Context, Result, Values, Verb
from appliance.verbs import VERBS, named
from appliance.view import Size, View
from tests.unit.appliance.machines import Machine, recorded

PASSWORD = "seven quiet horses"
TURNS = 2000


class Desk:
    """A terminal that is a list: each turn gives the next keys, and keeps what was drawn."""

    def __init__(self, *keys: str) -> None:
        self.keys_left = list(keys)
        self.drawn: list[str] = []

    def size(self) -> Size:
        return Size(80, 24)

    def draw(self, view: View, size: Size) -> None:
        assert len(view.lines) == size.rows
        self.drawn.append("\n".join("".join(part for _, part in line) for line in view.lines))

    def repaint(self) -> None:
        pass

    def keys(self) -> list[str]:
        threading.Event().wait(0.005)  # as select does: lets what works in threads go on
        return [self.keys_left.pop(0)] if self.keys_left else []

    @property
    def now(self) -> str:
        return self.drawn[-1]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = recorded(tmp_path)
    made.write(first_boot.COMPLETE, b"")
    login.set_password(made, PASSWORD)
    return made


def begun(machine: Machine, *keys: str) -> tuple[Any, Desk]:
    """Return a console whose inside is looked at, and its terminal."""
    desk = Desk(*keys)
    console: Any = Console(machine, CONF, desk)  # type: ignore[arg-type]
    console._looked = 1e12  # the first screen does not look by itself
    return console, desk


def until(console: Any, condition: Callable[[], bool]) -> None:
    for _ in range(TURNS):
        console._turn()
        if condition():
            return
    raise AssertionError(console._terminal.now)


def logged_in(machine: Machine) -> tuple[Any, Desk]:
    console, desk = begun(machine, "enter", *PASSWORD, "enter")
    until(console, lambda: len(console._stack) > 1 and isinstance(console._stack[1], Menu))
    return console, desk


def slow(go_on: threading.Event, *, follow: bool = False) -> Verb:
    def run(context: Context, values: Values) -> Result:
        context.progress("halfway")
        while not go_on.wait(0.01) and not context.stop():
            pass
        return Result(("PASS  all of it",))

    arguments = (Argument("follow", "flag", "go on"),) if follow else ()
    return Verb("slow", "take long", run, arguments)


def test_a_log_in_is_written_down_whatever_its_end(machine: Machine) -> None:
    console, desk = begun(machine, "enter", *"wrong", "enter", *PASSWORD, "enter")
    until(console, lambda: isinstance(console._stack[-1], Menu))
    assert [line.partition("result=")[2] for line in machine.audited] == [
        '"log-in refused"',
        '"logged in"',
    ]
    assert PASSWORD not in "".join([*machine.audited, *desk.drawn])


def test_working_is_drawn_before_a_slow_verb_ends_and_its_lines_as_they_come(
    machine: Machine,
) -> None:
    console, desk = logged_in(machine)
    go_on = threading.Event()
    console._begin(Run(slow(go_on), {}))
    assert "working: 0 s" in desk.now, "before the verb has begun"
    until(console, lambda: "halfway" in desk.now)
    go_on.set()
    until(console, lambda: isinstance(console._stack[-1], Text))
    console._turn()
    assert "PASS  all of it" in desk.now


def pending(machine: Machine) -> None:
    plan = Plan("network eth0", (Write("/etc/agent-proxy/x", b"new"),))
    commit.apply(machine, plan, confirm_s=120.0)
    assert commit.waiting(machine) is not None


@pytest.mark.parametrize(("key", "said"), [("c", "confirmed, final"), ("r", "taken back")])
def test_who_was_cut_off_is_asked_after_the_log_in(machine: Machine, key: str, said: str) -> None:
    """The address was changed over SSH: whoever comes back by the new one must be able to keep
    it, or it is lost after 120 s."""
    pending(machine)
    console, desk = logged_in(machine)
    until(console, lambda: "Taken back by itself in" in desk.now)
    desk.keys_left = [key, *["enter"] * (key == "r")]
    until(console, lambda: said in desk.now)
    assert commit.waiting(machine) is None or key == "r"


def resting(machine: Machine, *, ready: bool, rest_s: float = 0.0) -> tuple[Any, Desk]:
    machine.pages["/status"] = Fetched(200, json.dumps({"ready": ready}).encode())
    desk = Desk()
    return Console(machine, CONF, desk, rest_s=rest_s), desk  # type: ignore[arg-type]


def test_it_rests_where_all_is_well_and_says_of_when_its_screen_is(machine: Machine) -> None:
    console, desk = resting(machine, ready=True)
    assert console.run(), "it rests: its terminal is there"
    assert "45BCEBB32AA9" not in desk.drawn[0], "it has not looked yet"
    assert "as of 2026-09-21 14:13:20 UTC; looks again every 5 min, or when a key" in desk.now


@pytest.mark.parametrize("what", ["fault", "change", "log-in", "key", "not set up"])
def test_what_keeps_it_awake(machine: Machine, what: str) -> None:
    console, desk = resting(machine, ready=what != "fault", rest_s=60.0 if what == "key" else 0.0)
    if what == "change":
        pending(machine)
    if what == "not set up":
        machine.remove(first_boot.COMPLETE)
    console._show_first()
    if what == "log-in":
        console._carry_out(console._first.key("enter"))
    assert not console._may_rest()
    if what == "key":
        console._touched -= 60.0
        assert console._may_rest(), "nobody has pressed one for a minute"


def test_the_first_screen_says_that_a_change_waits(machine: Machine) -> None:
    pending(machine)
    console, _ = begun(machine)
    console._show_first()
    assert "network eth0 is not confirmed" in console._first.lines[0]


def test_a_defect_on_a_screen_logs_out_and_is_over_then(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while a verb works: the console must not stumble over it again and again."""
    console, desk = logged_in(machine)
    console._pause.set()
    go_on = threading.Event()
    console._begin(Run(slow(go_on), {}))
    shown = console._stack[-1]
    assert isinstance(shown, Working)
    shown.view = None  # type: ignore[assignment, method-assign]
    turns = iter(range(5))

    def keys() -> list[str]:
        if next(turns, None) is None:
            raise EOFError
        return []

    desk.keys = keys  # type: ignore[method-assign]
    console.run()
    go_on.set()
    assert console._stack == [console._first] and console._work is None
    assert "A defect ended the last screen" in desk.now
    assert capsys.readouterr().err.count("Traceback") == 1


def test_a_log_that_somebody_left_on_the_screen_logs_out(machine: Machine) -> None:
    console, _ = logged_in(machine)
    console._begin(Run(slow(threading.Event(), follow=True), {"follow": True}))
    until(console, lambda: bool(console._work and console._work.lines))
    console._touched -= 601
    console._turn()
    assert console._stack == [console._first]


def test_an_open_screen_is_left_after_ten_minutes_without_a_key(machine: Machine) -> None:
    console, _ = logged_in(machine)
    console._touched -= 601
    console._turn()
    assert console._stack == [console._first]


def test_whoever_is_idle_is_warned_and_any_key_only_stays(machine: Machine) -> None:
    console, desk = logged_in(machine)
    console._touched -= 545
    console._turn()
    assert re.search("Log-out in [1-5]?[0-9] s", desk.now)
    desk.keys_left = ["1"]
    console._turn()
    console._turn()
    assert "Log-out" not in desk.now
    assert len(console._stack) == 2, "the key was for staying, not for the menu"
    console._touched -= 601
    console._turn()
    assert console._stack == [console._first]


def edit(console: Any, desk: Desk) -> None:
    desk.keys_left = ["2", "4"]
    until(console, lambda: isinstance(console._stack[-1], Editor))
    desk.keys_left = ["#", "!"]
    until(console, lambda: not desk.keys_left)


@pytest.mark.parametrize("end", ["idle", "hung up", "defect"])
def test_an_edited_file_survives_every_log_out(machine: Machine, end: str) -> None:
    console, desk = logged_in(machine)
    edit(console, desk)
    if end == "idle":
        console._touched -= 545
        console._turn()
        assert "the edited proxy.ini is kept" in desk.now
        console._touched -= 601
        console._turn()
    elif end == "hung up":
        desk.keys = lambda: (_ for _ in ()).throw(EOFError)  # type: ignore[method-assign]
        console.run()
    else:
        console._leave()
    kept = draft.newest(machine)
    assert isinstance(kept, draft.Draft) and kept.text.startswith("#!")
    assert console._stack == [console._first]

    console, desk = logged_in(machine)
    until(console, lambda: "A draft of proxy.ini is kept" in desk.now)
    desk.keys_left = ["enter"]
    until(console, lambda: isinstance(console._stack[-1], Editor))
    assert console._stack[-1].lines[0].startswith("#!")
    desk.keys_left = ["esc", "y"]
    until(console, lambda: not desk.keys_left)
    console._turn()
    assert draft.newest(machine) is None


def test_a_draft_is_left_for_later_or_discarded(machine: Machine) -> None:
    console, desk = logged_in(machine)
    edit(console, desk)
    console._leave()
    machine.write(CONF, (machine.read(CONF) or b"") + b"# since\n", mode=0o640)
    console, desk = logged_in(machine)
    until(console, lambda: "proxy.ini was changed since" in desk.now)
    desk.keys_left = ["2"]
    until(console, lambda: len(console._stack) == 2)
    assert draft.newest(machine) is not None
    console, desk = logged_in(machine)
    desk.keys_left = ["3"]
    until(console, lambda: draft.newest(machine) is None)


@pytest.mark.parametrize("end", ["idle", "hung up"])
@pytest.mark.parametrize("again", ["open", "discard"])
def test_a_form_that_is_half_filled_in_survives_every_log_out(
    machine: Machine, end: str, again: str
) -> None:
    """Of a section, which has no secret; the one below is of a verb that has."""
    console, desk = logged_in(machine)
    desk.keys_left = ["2", "2", "3", *"platform.example"]
    until(console, lambda: "platform.example" in desk.now and not desk.keys_left)
    left(console, desk, end)

    console, desk = logged_in(machine)
    until(console, lambda: "Left half-way: Proxy settings: [upstream]" in desk.now)
    if again == "discard":
        desk.keys_left = ["3"]
        until(console, lambda: draft.newest(machine) is None)
        return
    desk.keys_left = ["enter", *".com"]
    until(console, lambda: "platform.example.com" in desk.now)
    assert "1 changed" in desk.now and len(console._stack) == 3
    assert draft.newest(machine) is None
    left(console, desk, end)
    kept = draft.newest(machine)
    assert isinstance(kept, draft.FormDraft), "once more"
    assert kept.values == {"endpoint": "platform.example.com"}


def left(console: Any, desk: Desk, end: str) -> None:
    if end == "idle":
        console._touched -= 545
        console._turn()
        assert "what is typed is kept, but for secrets" in desk.now
        console._touched -= 601
        console._turn()
    else:
        desk.keys = lambda: (_ for _ in ()).throw(EOFError)  # type: ignore[method-assign]
        console.run()
    assert console._stack == [console._first]


def test_what_is_typed_unseen_is_never_kept(machine: Machine) -> None:
    console, desk = logged_in(machine)
    desk.keys_left = ["8", "8", *"/media/b", "enter", *"correct horse battery"]
    until(console, lambda: "(typed, not shown)" in desk.now and not desk.keys_left)
    left(console, desk, "idle")
    kept = draft.newest(machine)
    assert isinstance(kept, draft.FormDraft) and kept.values == {"file": "/media/b"}
    assert not [path for path, content in machine.content().items() if b"horse b" in content]
    console, desk = logged_in(machine)
    desk.keys_left = ["enter"]
    until(console, lambda: "/media/b" in desk.now)
    assert "What is typed unseen was not kept." in desk.now
    assert "(typed, not shown)" not in desk.now


def test_a_form_whose_zone_is_gone_says_so_and_can_be_discarded(machine: Machine) -> None:
    form = Form("Proxy settings: [zones.old]", [Field("networks", "networks")], lambda _: None)
    form.fields[0].text = "10.0.0.0/8"
    draft.keep_form(machine, form, "section", "zones.old")
    console, desk = logged_in(machine)
    until(console, lambda: "Left half-way" in desk.now)
    desk.keys_left = ["enter"]
    until(console, lambda: "is not there any more" in desk.now)
    desk.keys_left = ["esc", "3"]
    until(console, lambda: draft.newest(machine) is None)


def test_what_came_of_a_bundle_is_seen_without_scrolling(machine: Machine) -> None:
    console, desk = logged_in(machine)
    console._begin(Run(named("bundle"), {}, sure=True))
    until(console, lambda: isinstance(console._stack[-1], Text))
    console._turn()
    assert "agent-proxy-20260921-141320.tar.gz holds these" in desk.now.splitlines()[2]
    assert "of " in desk.now.splitlines()[0], "what it did on the way is below"


def test_what_changes_nothing_is_left_at_once_with_what_it_said(machine: Machine) -> None:
    console, desk = logged_in(machine)
    verb = Verb("slow", "take long", lambda context, values: _never(context))
    console._begin(Run(verb, {}))
    until(console, lambda: "halfway" in desk.now)
    assert "Esc or Ctrl-C end it" in desk.now
    desk.keys_left = ["ctrl c"]
    until(console, lambda: isinstance(console._stack[-1], Text))
    console._turn()
    assert "halfway" in desk.now and "Stopped" in desk.now


def _never(context: Context) -> Result:
    context.progress("halfway")
    while not context.stop():
        threading.Event().wait(0.01)
    return Result()


def test_what_changes_something_is_waited_for_and_says_why_it_cannot_be_stopped(
    machine: Machine,
) -> None:
    console, desk = logged_in(machine)
    go_on, reached = threading.Event(), threading.Event()

    def run(context: Context, values: Values) -> Result:
        while not context.stop():
            threading.Event().wait(0.01)
        context.endures("it has switched")
        reached.set()
        go_on.wait(30)
        return Result(("over",))

    console._begin(Run(Verb("slow", "take long", run, changes=True), {}, sure=True))
    until(console, lambda: "what was begun is taken back" in desk.now)
    desk.keys_left = ["esc"]
    until(console, reached.is_set)
    until(console, lambda: "(it has switched)" in desk.now)
    assert "this cannot be stopped" in desk.now
    console._touched -= 700
    console._turn()
    assert console._work is not None, "nobody is logged out while something is changed"
    go_on.set()
    until(console, lambda: isinstance(console._stack[-1], Text))


def test_a_change_that_is_stopped_is_taken_back(machine: Machine) -> None:
    before = machine.content()
    for verb, values in (
        ("settings set", {"name": "proxy.id", "value": ("45BCEBB32AA9",)}),
        ("time set", {"timezone": "Etc/UTC", "server": ("ntp.example.com",)}),
        ("services restart", {"name": "worker-0"}),
        ("services rolling-restart", {}),
        ("bundle", {}),
    ):
        context = Context(machine, CONF, machine.now, stop=lambda: True)
        with pytest.raises(Refusal, match="stopped"):
            named(verb).run(context, values)
        assert machine.content() == before, verb


def test_every_verb_that_changes_something_can_be_stopped_or_says_why_not(
    machine: Machine,
) -> None:
    """Those that are stopped are the ones that end in commit, and the few of the test above."""
    told = {verb.name for verb in VERBS if verb.endures}
    assert told == {
        "confirm", "rollback", "recover", "restart", "shutdown", "factory-reset",
        "first-boot run", "upgrade rollback", "services start", "services renew",
    }  # fmt: skip
    assert not [verb.name for verb in VERBS if verb.endures and not verb.changes]


def test_a_damaged_journal_locks_nobody_out(machine: Machine) -> None:
    machine.write(f"{commit.FOLDER}/journal.json", b"{")
    console, desk = begun(machine)
    console._show_first()
    console._turn()
    assert "cannot be read" in desk.now
    console, _ = logged_in(machine)
    console._turn()
    assert isinstance(console._stack[-1], Menu)


def test_typed_answers_of_the_first_boot_touch_no_disk_before_they_are_agreed_to(
    machine: Machine,
) -> None:
    """A password and a secret are among them."""
    machine.remove(first_boot.COMPLETE)
    machine.write("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n")
    before = machine.content()
    console, desk = begun(machine, "enter")
    until(console, lambda: "First boot" in desk.now)
    given = {
        "console.password": PASSWORD,
        "upstream.endpoint": "platform.example.com:3302",
        "platform.networks": "8.7.6.5",
    }
    for one in console._stack[-1].fields:
        one.text = given.get(one.place.removesuffix(" again"), "")
    desk.keys_left = ["f2"]
    until(console, lambda: "what it would change" in desk.now and "Enter do it" in desk.now)
    assert not any("transaction" in line for line in console._stack[-1].lines)
    desk.keys_left = ["esc", "esc"]
    until(console, lambda: len(console._stack) == 1)
    assert machine.content() == before
