"""Screens without a terminal: keys in, effects and views out."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance import cli, form_fields, login, menu, passwords
from appliance.editor import Editor, Fault
from appliance.effects import Back, Effect, Run
from appliance.entry import First, Login
from appliance.errors import Problem, Problems, Refusal
from appliance.form import Field, Form
from appliance.screens import Countdown, Entry, Menu, Question, Text, Working
from appliance.system import System
from appliance.verb import Context, Result, Values, Verb
from appliance.verbs import VERBS, named
from appliance.view import Size, View, framed, too_small, visible, wrapped
from appliance.work import Work
from proxy.declarations import DECLARATIONS
from tests.unit.appliance.machines import recorded

SMALL = Size(80, 24)


def text(view: View) -> str:
    return "\n".join("".join(part for _, part in line) for line in view.lines)


def typed(screen: Editor | Form | Login, *keys: str) -> Effect:
    effect: Effect = None
    for key in keys:
        effect = screen.key(key)
    return effect


def test_the_menu_has_every_verb_once_and_so_has_the_command_line() -> None:
    listed = [verb.name for topic in menu.TOPICS for verb in menu.verbs_of(topic)]
    assert len(listed) == len(set(listed))
    assert {*listed, *menu.HIDDEN} - {"console"} == {verb.name for verb in VERBS}
    for name in [*listed, "console"]:
        assert name.split()[0] in cli.parser().format_help()
    assert len(menu.TOPICS) <= 9, "number keys reach all of it"


def test_every_field_of_every_verb_says_what_it_is() -> None:
    for verb in VERBS:
        for field in form_fields.of_verb(verb):
            assert field.sense and field.label, f"{verb.name}: {field.place}"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_form_fits_and_ends(verb: Verb) -> None:
    if not verb.arguments:
        return
    form = Form(verb.name, form_fields.of_verb(verb), lambda fields: None)
    for key in ("down", "x", "backspace", "tab", "up", "left", "right", "f2", "ctrl u"):
        form.key(key)
        view = form.view(SMALL)
        assert len(view.lines) == 24
        assert all(sum(len(part) for _, part in line) <= 80 for line in view.lines)
    assert isinstance(form.key("esc"), Back)


# What no setting of a kind takes. A text of 5,000 letters is cut while it is typed.
_BAD = {
    "address": "10.0.0.300",
    "addresses": "here, there",
    "choice": "",
    "endpoint": "host-without-port",
    "endpoints": "host:0",
    "fingerprint": "zz",
    "id": "a b",
    "integer": "many",
    "interface": "no such name at all",
    "name": "-bad-",
    "networks": "10.0.0.1/33",
    "ports": "70000",
    "seconds": "5 s",
    "text": "\x07",
    "url": "ftp://host",
}


@pytest.mark.parametrize(
    "setting",
    [one for one in DECLARATIONS if one.kind in _BAD and not one.choices],
    ids=lambda one: f"{one.section}.{one.key}",
)
def test_a_bad_value_is_refused_beside_its_field_with_the_way_to_correct_it(setting) -> None:  # type: ignore[no-untyped-def]
    section = setting.section.replace("*", "NAME")
    fields = form_fields.of_section(section, {})
    number = next(n for n, one in enumerate(fields) if one.place == setting.key)
    form = Form("x", fields, lambda fields: pytest.fail("a bad value went on"))
    form.chosen = number
    fields[number].text = _BAD[setting.kind]
    if setting.kind == "text":
        return  # control characters are no keys: nothing else is refused while it is typed
    assert setting.range.split()[0] in fields[number].wrong
    assert form.key("f2") is None
    assert form.chosen == number
    assert "!" in text(form.view(SMALL))


def test_what_a_verb_refuses_is_shown_beside_its_field() -> None:
    form = Form("network set", form_fields.of_verb(named("network set")), lambda fields: None)
    form.refuse([
        Problem("network.interfaces.eth0.mtu", "9", "is too small", "Give 576 or more"),
        Problem("elsewhere", "", "is odd", "Look there"),
    ])  # fmt: skip
    shown = text(form.view(SMALL))
    assert "! is too small. Give 576 or more" in shown
    assert "elsewhere: is odd. Look there" in shown
    assert form.fields[form.chosen].place == "mtu"
    form.key("5")
    assert not form.fields[form.chosen].refused


def test_values_of_a_form_are_those_of_the_command_line() -> None:
    verb = named("certificate self-signed")
    fields = form_fields.of_verb(verb)
    fields[0].text, fields[1].text, fields[2].text = " a.example , 10.1.2.3 ", "30", "yes"
    assert form_fields.values(verb, fields) == {
        "name": ("a.example", "10.1.2.3"), "days": 30, "rsa": True,
    }  # fmt: skip
    empty = form_fields.values(verb, form_fields.of_verb(verb))
    assert empty == {"name": None, "days": None, "rsa": False}


def test_only_what_was_changed_is_changed() -> None:
    fields = form_fields.of_section("upstream", {"endpoint": "a:1"})
    assert form_fields.changes("upstream", fields) == []
    fields[0].text = "b:2 "
    (change,) = form_fields.changes("upstream", fields)
    assert change == (("upstream",), "endpoint", "b:2")
    zone = form_fields.of_section("zones.isolated-1", {})
    zone[0].text = "eth1"
    assert form_fields.changes("zones.isolated-1", zone)[0].section == ("zones", "isolated-1")


def test_a_choice_is_gone_through_and_a_secret_is_never_shown() -> None:
    choice = Field("min_tls", "min tls", choices=("1.2", "1.3"), default="1.2")
    secret = Field("new", "new", secret=True)
    form = Form("x", [choice, secret], lambda fields: None)
    form.key("right")
    assert choice.text == "1.3"
    form.key("left")
    assert choice.text == "1.2"
    form.key("tab")
    typed(form, *"hunter2hunter2")
    assert secret.text == "hunter2hunter2"
    assert "hunter2" not in text(form.view(SMALL))
    form.key("backspace")
    assert secret.text == ""


class TestEditor:
    def made(self, content: str = "one\ntwo\nthree") -> Editor:
        return Editor("t", content, lambda text: Run(named("status"), {"text": text}))

    def test_types_breaks_joins_and_takes_back(self) -> None:
        editor = self.made()
        typed(editor, "down", "end", "!", "enter", "x")
        assert editor.now == "one\ntwo!\nx\nthree"
        typed(editor, "backspace", "backspace")
        assert editor.now == "one\ntwo!\nthree"
        typed(editor, *["ctrl z"] * 10)
        assert editor.now == "one\ntwo\nthree"
        assert "Nothing to undo" in editor.note

    def test_deletes_across_lines_and_cuts(self) -> None:
        editor = self.made()
        typed(editor, "end", "delete")
        assert editor.now == "onetwo\nthree"
        typed(editor, "ctrl k", "ctrl k")
        assert editor.now == ""
        typed(editor, "delete", "backspace", "left", "up")
        assert editor.now == ""

    def test_finds_around_the_end(self) -> None:
        editor = self.made()
        typed(editor, "ctrl f", "T", "enter")
        assert (editor.row, editor.column) == (1, 0)
        typed(editor, "ctrl n")
        assert editor.row == 2
        typed(editor, "ctrl n")
        assert editor.row == 1
        typed(editor, "ctrl f", "q", "esc", "ctrl f", "z", "q", "backspace", "enter")
        assert "is not in the text" in editor.note

    def test_faults_stop_it_and_are_gone_to(self) -> None:
        def judge(content: str) -> list[Fault]:
            rows = content.split("\n")
            return [Fault(n, "bad") for n, row in enumerate(rows, 1) if row == "bad"]

        editor = Editor("t", "a\nb", lambda text: Back(), judge)
        typed(editor, "down", "end", "enter", *"bad")
        editor._go(0, 0)
        assert typed(editor, "f2") is None
        assert editor.row == 2
        assert "1 to correct" in text(editor.view(SMALL))
        typed(editor, "ctrl k", "ctrl g")
        assert "Nothing is wrong" in editor.note
        assert isinstance(typed(editor, "ctrl s"), Back)

    def test_a_changed_text_is_not_left_by_mistake(self) -> None:
        editor = self.made()
        assert isinstance(editor.key("esc"), Back)
        typed(editor, "x", "esc")
        assert "Leave without it?" in text(editor.view(SMALL))
        assert typed(editor, "n") is None
        assert isinstance(typed(editor, "esc", "y"), Back)

    def test_long_and_many_lines_stay_in_the_frame(self) -> None:
        editor = self.made("x" * 300 + "\n" + "\n" * 100)
        editor.key("end")
        view = editor.view(SMALL)
        assert view.cursor is not None and view.cursor[0] < 80
        typed(editor, *["page down"] * 9)
        assert len(editor.view(SMALL).lines) == 24
        assert editor.row == 101

    def test_nothing_in_it_is_a_way_out(self) -> None:
        editor = self.made()
        for key in ("ctrl c", "ctrl x", "ctrl o", "f1", "f9", "!", ":", "ctrl e", "insert"):
            assert editor.key(key) is None


def test_a_list_is_chosen_from_by_arrow_and_by_number() -> None:
    entries = [Entry(f"item {n}", "", Back(n)) for n in range(12)]
    screen = Menu("t", entries)
    assert screen.key("3") == Back(2)
    screen.key("up")
    assert screen.key("enter") == Back(1)
    screen.key("home")
    screen.key("up")
    assert screen.chosen == 11
    assert "item 11" in text(screen.view(SMALL))
    screen.key("end")
    screen.key("down")
    assert screen.chosen == 0
    assert screen.key("esc") == Back()


def test_texts_scroll_and_numbers_are_spelled() -> None:
    screen = Text("t", [f"line {n}" for n in range(100)], go_on=Back(7))
    screen.key("end")
    assert "line 99" in text(screen.view(SMALL))
    screen.key("home")
    assert "line 0" in text(screen.view(SMALL))
    assert screen.key("enter") == Back(7)
    big = Text("t", ["ID  45BCEBB32AA9"], big=True)
    assert "45BC EBB3 2AA9" in text(big.view(SMALL))
    assert big.key("esc") == Back()


def test_a_question_wants_the_word() -> None:
    screen = Question("t", ["all is lost"], Back(3))
    for key in ("enter", "y", "enter", "e", "s", "x", "backspace", "s"):
        assert screen.key(key) is None
    assert screen.typed == "yes"
    assert screen.key("enter") == Back(3)
    assert screen.key("esc") == Back()
    assert "Type yes" in text(screen.view(SMALL))


def test_the_countdown_says_what_happens_and_by_which_key() -> None:
    left = [12.4]
    screen = Countdown(
        "t", ["PASS ready"], named("confirm"), named("rollback"), lambda: left[0] or None
    )
    assert "Taken back by itself in 12 s" in text(screen.view(SMALL))
    assert screen.key("c") == Run(named("confirm"), {}, sure=True)
    assert screen.key("r") == Run(named("rollback"), {}, sure=True)
    assert screen.key("esc") is None
    left[0] = 0
    assert "does not wait any more" in text(screen.view(SMALL))
    assert screen.key("esc") == Back()


def test_the_first_screen_wraps_warnings_and_scrolls() -> None:
    screen = First([f"WARNING  {'long ' * 30}: do it", *["row"] * 40], note=" as of")
    shown = text(screen.view(SMALL))
    assert "as of" in shown and "do it" in shown
    screen.key("end")
    assert "lines" in text(screen.view(SMALL))


def test_what_would_steer_a_terminal_is_shown_instead() -> None:
    assert visible("a\x1b[2J\x07\u202e") == "a\\x1b[2J\\x07\\x202e"
    view = framed(SMALL, "t", [(("", "\x1b[31mred"),)], "keys")
    assert "\x1b" not in text(view)
    assert wrapped("x" * 100, 40)[1] == "x" * 40
    assert "needs 80x24" in text(too_small(Size(60, 15)))


class TestLogin:
    def test_a_password_is_set_kept_hashed_and_known_again(self, tmp_path: Path) -> None:
        system = recorded(tmp_path)
        assert not login.is_set(system)
        with pytest.raises(Problems):
            login.set_password(system, "short")
        login.set_password(system, "seven quiet horses")
        assert login.is_set(system)
        kept = system.read(passwords.PATH) or b""
        assert b"horses" not in kept
        entry = system.entry(passwords.PATH)
        assert entry is not None and entry.mode == 0o600
        login.attempt(system, "seven quiet horses")

    def test_the_wait_grows_survives_and_ends(self, tmp_path: Path) -> None:
        system = recorded(tmp_path)
        login.set_password(system, "seven quiet horses")
        waits = []
        for _ in range(14):
            system.time += login.wait_s(system)
            with pytest.raises(Refusal, match="Wrong password"):
                login.attempt(system, "seven quiet mice")
            waits.append(round(login.wait_s(system)))
        assert waits[:6] == [0, 0, 2, 4, 8, 16]
        assert waits[-1] == 300
        with pytest.raises(Refusal, match="Wait 300 s"):
            login.attempt(system, "seven quiet horses")
        system.time -= 1_000_000  # a clock that was set back locks nobody out for longer
        assert login.wait_s(system) == 300
        system.time += 1_000_301
        login.attempt(system, "seven quiet horses")
        assert login.wait_s(system) == 0

    def test_a_new_password_is_typed_twice_and_never_shown(self) -> None:
        screen = Login(new=True)
        typed(screen, *"abc", "enter", *"abd", "enter")
        assert "not the same" in screen.note
        assert typed(screen, *"abc", "enter") is None
        effect = typed(screen, *"abd", "backspace", "c", "enter")
        assert effect is not None and effect[1] == "abc"
        typed(screen, *"abc")
        assert "abc" not in text(screen.view(SMALL))
        typed(screen, "ctrl u")
        assert typed(screen, "enter") is None
        assert typed(screen, "esc") == Back()


class TestWork:
    """One verb in a thread: its progress, its end, and that a defect ends it alone."""

    def ended(self, work: Work) -> Work:
        work.start()
        deadline = time.monotonic() + 30
        while not work.is_over and time.monotonic() < deadline:
            work.join(0.1)
        assert work.is_over
        return work

    def verb(self, run) -> Verb:  # type: ignore[no-untyped-def]
        return Verb("slow", "is slow", run)

    def test_progress_is_seen_before_the_end(self, tmp_path: Path) -> None:
        system = System(str(tmp_path))

        def slow(context: Context, values: Values) -> Result:
            context.progress("half")
            while not context.stop():
                time.sleep(0.01)  # noqa: TID251
            return Result(("done",))

        work = Work(self.verb(slow), {}, system, "", dry=False)
        work.start()
        while not work.lines:
            work.join(0.01)
        screen = Working("slow", "end it", lines=list(work.lines))
        assert "half" in text(screen.view(SMALL))
        assert "working" in text(screen.view(SMALL))
        screen.key("esc")
        assert screen.stopped
        assert "ending" in text(screen.view(SMALL))
        work.stop()
        work.join(30)
        assert work.is_over and work.result == Result(("done",))

    def test_a_defect_is_said_and_ends_nothing_else(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(context: Context, values: Values) -> Result:
            raise ZeroDivisionError

        work = self.ended(Work(self.verb(broken), {}, System(str(tmp_path)), "", dry=False))
        assert "ZeroDivisionError" in work.refusal
        assert "Traceback" in capsys.readouterr().err

    def test_a_dry_run_changes_nothing_and_says_what_it_would(self, tmp_path: Path) -> None:
        machine = recorded(tmp_path)
        before = machine.content()
        values = {"name": "proxy.id", "value": ("45BCEBB32AA9",)}
        work = self.ended(
            Work(
                named("settings set"), values, machine, "/opt/agent-proxy/conf/proxy.ini", dry=True
            )
        )
        assert work.result is not None, work.refusal or work.problems
        assert machine.content() == before
        assert any("45BCEBB32AA9" in line for line in work.result.lines)
        assert machine.audited == []
