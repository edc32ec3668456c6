"""Ctrl-C while a verb of a command works: taken back or brought to an end, and said which."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import cli, commit, commit_verbs
from appliance.interruption import Interruption
from appliance.plan import Action, Plan, Write
from appliance.system import Completed
from appliance.verb import Context, Result, Values, Verb
from tests.unit.appliance.machines import Machine

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Machine):
    """Somebody presses Ctrl-C while the first program of a change runs."""

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        if argv[:2] == ("systemctl", "restart"):
            os.kill(os.getpid(), signal.SIGINT)
        return super().run(argv, input=input, timeout_s=timeout_s)


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Verb], None]:
    """Lets the command line know one verb instead of all."""

    def known(verb: Verb) -> None:
        monkeypatch.setattr(cli, "_meant", lambda words: (verb,))

    return known


def _two_steps(context: Context, values: Values) -> Result:
    first = Action(("systemctl", "restart", "one.service"), "restarting one")
    second = Action(("systemctl", "restart", "two.service"), "restarting two")
    plan = Plan("two steps", (Write("/f", b"new"),), actions=(first, second))
    return commit_verbs.carry_out(context, plan)


def test_a_change_is_taken_back_and_that_is_said(
    tmp_path: Path, verbs: Callable[[Verb], None], capfd: pytest.CaptureFixture[str]
) -> None:
    machine = Interrupted(tmp_path)
    machine.write("/f", b"old")
    verbs(Verb("twice", "do two things", _two_steps, changes=True))
    before = [signal.getsignal(number) for number in SIGNALS]
    assert cli.main(["twice"], machine) == 130
    said = capfd.readouterr()
    assert "stopping: what was begun is taken back" in said.err
    assert "ROLLED BACK: it was stopped by whoever waited. The old state is in force" in said.out
    assert machine.read("/f") == b"old" and commit.waiting(machine) is None
    assert machine.ran.count("systemctl restart one.service") == 2, "and its undo"
    assert "systemctl restart two.service" not in machine.ran
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert "result=failed" in machine.audited[-1]


def test_what_cannot_be_stopped_says_so_and_comes_to_its_end(
    tmp_path: Path, verbs: Callable[[Verb], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def run(context: Context, values: Values) -> Result:
        os.kill(os.getpid(), signal.SIGINT)
        context.system.write("/whole", b"yes")
        return Result(("whole",))

    machine = Machine(tmp_path)
    verbs(Verb("whole", "do it all", run, changes=True, endures="half of it is worse"))
    assert cli.main(["whole"], machine) == 0
    said = capfd.readouterr()
    assert "not stopped: half of it is worse" in said.err and "whole" in said.out
    assert machine.read("/whole") == b"yes"


def test_what_can_no_longer_be_stopped_says_so_then(
    tmp_path: Path, verbs: Callable[[Verb], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def run(context: Context, values: Values) -> Result:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(3):
            context.endures("it has switched")
        return Result(("over",))

    verbs(Verb("over", "switch", run, changes=True))
    assert cli.main(["over"], Machine(tmp_path)) == 0
    assert capfd.readouterr().err.count("not stopped: it has switched") == 1


def test_what_only_looks_ends_there_and_then(
    tmp_path: Path, verbs: Callable[[Verb], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def run(context: Context, values: Values) -> Result:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    verbs(Verb("look", "look", run))
    assert cli.main(["look"], Machine(tmp_path)) == 130
    assert capfd.readouterr().err == ""


def test_a_refusal_because_of_it_has_its_exit_code(
    tmp_path: Path, verbs: Callable[[Verb], None], capfd: pytest.CaptureFixture[str]
) -> None:
    def run(context: Context, values: Values) -> Result:
        os.kill(os.getpid(), signal.SIGINT)
        return _two_steps(context, values)

    machine = Machine(tmp_path)
    verbs(Verb("twice", "do two things", run, changes=True))
    assert cli.main(["twice"], machine) == 130
    assert "nothing was changed" in capfd.readouterr().err
    assert machine.read("/f") is None
    assert "result=stopped" in machine.audited[-1]


def test_a_reader_that_is_gone_leaves_no_change_half_done(
    tmp_path: Path, verbs: Callable[[Verb], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`agent-proxy-appliance network set ... | head -1`"""

    def gone(*words: Any, **more: Any) -> None:
        raise BrokenPipeError

    said: list[str] = []
    machine = Machine(tmp_path)
    verbs(Verb("twice", "do two things", _two_steps, changes=True))
    monkeypatch.setattr(cli, "_progress", gone)
    monkeypatch.setattr(cli, "to_nowhere", lambda: said.append("nowhere"))
    assert cli.main(["twice"], machine) == 0
    assert machine.read("/f") == b"new" and commit.waiting(machine) is None
    assert said


def test_signals_are_what_they_were_after_a_defect() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(ZeroDivisionError), Interruption("").heeded():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in SIGNALS] == before
