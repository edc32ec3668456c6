"""A change is complete or has not happened, whatever fails and whenever."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import commit
from appliance.dry_run import DryRun
from appliance.errors import Problems, Refusal
from appliance.plan import Action, Plan, Write
from appliance.system import Completed
from proxy.outcome import Outcome, failed, passed
from tests.unit.appliance.machines import Faulty, Machine, PowerCut

_OLD = {"/etc/a.conf": b"old a\n", "/etc/gone.conf": b"old gone\n", "/etc/d/b.conf": b"old b\n"}
_NEW = {"/etc/a.conf": b"new a\n", "/etc/d/b.conf": b"new b\n", "/etc/new/c.conf": b"new c\n"}
_TIMER = "agent-proxy-rollback.timer"
_PLAN = Plan(
    "a change",
    writes=tuple(Write(path, content, mode=0o640) for path, content in _NEW.items()),
    removals=("/etc/gone.conf",),
    actions=(Action(("reload", "it"), "reloading"), Action(("name", "new"), "", ("name", "old"))),
)


def machine(folder: Path, kind: type[Machine] = Machine) -> Machine:
    made = kind(folder)
    for path, content in _OLD.items():
        made.write(path, content, mode=0o600)
    return made


def test_a_change_without_confirmation_is_final(tmp_path: Path) -> None:
    system = machine(tmp_path)
    applied = commit.apply(system, _PLAN, confirm_s=0)
    assert applied == commit.Applied("a change")
    assert system.content() == _NEW
    assert system.ran == ["reload it", "name new"]
    assert commit.waiting(system) is None
    entry = system.entry("/etc/a.conf")
    assert entry is not None and entry.mode == 0o640


def test_an_action_without_a_program_runs_only_when_it_is_taken_back(tmp_path: Path) -> None:
    system = machine(tmp_path)
    plan = Plan("a change", actions=(Action((), "nothing yet", ("undo", "it")),))
    commit.apply(system, plan)
    assert "undo it" not in system.ran
    commit.roll_back(system)
    assert "undo it" in system.ran


def test_a_change_waits_and_confirmation_makes_it_final(tmp_path: Path) -> None:
    system = machine(tmp_path)
    assert commit.apply(system, _PLAN).confirm_within_s == 120
    system.up_s += 100
    assert commit.recover(system) is None
    assert commit.waiting(system) == commit.Waiting("a change", "unconfirmed", 20.0)
    assert commit.confirm(system) == "a change"
    system.up_s += 100
    assert commit.recover(system) is None
    assert system.content() == _NEW
    with pytest.raises(Refusal, match="no change waits"):
        commit.confirm(system)


def test_what_is_not_confirmed_in_time_is_taken_back(tmp_path: Path) -> None:
    system = machine(tmp_path)
    commit.apply(system, _PLAN)
    system.up_s += 121
    system.time -= 100_000  # setting the clock moves no deadline
    with pytest.raises(Refusal, match="not confirmed in time"):
        commit.confirm(system)
    assert commit.recover(system) == ("a change", [])
    assert system.content() == _OLD
    assert system.ran == [
        f"systemctl start {_TIMER}",
        "reload it",
        "name new",
        "reload it",
        "name old",
        f"systemctl stop {_TIMER}",
    ]
    entry = system.entry("/etc/a.conf")
    assert entry is not None and entry.mode == 0o600


def test_a_restart_takes_back_what_nobody_confirmed(tmp_path: Path) -> None:
    system = machine(tmp_path)
    commit.apply(system, _PLAN)
    system.restart()
    with pytest.raises(Refusal, match="no longer be confirmed"):
        commit.confirm(system)
    del system.ran[:]
    assert commit.recover(system, boot=True) == ("a change", [])
    assert system.content() == _OLD
    assert system.ran == []  # the services start after this and find the old files


def test_roll_back_by_hand(tmp_path: Path) -> None:
    system = machine(tmp_path)
    commit.apply(system, _PLAN)
    assert commit.roll_back(system) == ("a change", [])
    assert system.content() == _OLD
    with pytest.raises(Refusal, match="nothing to roll back"):
        commit.roll_back(system)


def test_one_change_at_a_time(tmp_path: Path) -> None:
    system = machine(tmp_path)
    commit.apply(system, _PLAN)
    with pytest.raises(Refusal, match="'a change' is not final yet"):
        commit.apply(system, Plan("another"))
    with system.lock("/var/lib/agent-proxy/transaction/lock"):
        for act in (commit.confirm, commit.roll_back):
            with pytest.raises(Refusal, match="under way"):
                act(system)
        system.up_s += 200
        assert commit.recover(system) is None  # whoever holds the lock brings it to an end
    assert commit.recover(system) is not None


def test_an_action_that_fails_takes_everything_back(tmp_path: Path) -> None:
    system = machine(tmp_path)
    system.answers["reload it"] = Completed(3, "", "no such unit\n")
    applied = commit.apply(system, _PLAN)
    assert applied.rolled_back == "reload it failed with 3: no such unit"
    assert applied.notes == ("reload it failed with 3: no such unit",)
    assert "name new" not in system.ran and "name old" not in system.ran  # it never came to that
    assert system.content() == _OLD
    assert commit.waiting(system) is None


def rounds_of(*rounds: list[Outcome]) -> Iterator[list[Outcome]]:
    yield from rounds


def test_what_worked_before_must_work_afterwards(tmp_path: Path) -> None:
    system = machine(tmp_path)
    rounds = rounds_of([passed("ready", "yes")], [failed("ready", "no worker answers", "Look.")])
    applied = commit.apply(system, _PLAN, self_test=lambda expected: next(rounds))
    assert applied.rolled_back == "ready worked before and does not now: no worker answers"
    assert system.content() == _OLD


def test_what_failed_before_takes_nothing_back(tmp_path: Path) -> None:
    """The platform may not have been reachable yet; mending that is what the change is for."""
    system = machine(tmp_path)
    fail = failed("upstream", "refused", "Look.")
    rounds = rounds_of([passed("ready", "yes"), fail], [passed("ready", "yes"), fail])
    applied = commit.apply(system, _PLAN, self_test=lambda expected: next(rounds))
    assert (applied.rolled_back, applied.outcomes) == ("", (passed("ready", "yes"), fail))
    assert system.content() == _NEW


def test_without_the_timer_nothing_is_changed(tmp_path: Path) -> None:
    system = machine(tmp_path)
    system.answers[f"systemctl start {_TIMER}"] = Completed(5, "", "Unit not found.")
    with pytest.raises(Refusal, match="nothing was changed: Unit not found"):
        commit.apply(system, _PLAN)
    assert (system.content(), commit.waiting(system)) == (_OLD, None)


def test_what_a_program_wrote_is_put_back_by_it_or_after_a_restart_by_us(tmp_path: Path) -> None:
    action = Action(("name", "new"), "", ("name", "old"), files=("/etc/hostname",))
    system = machine(tmp_path)
    system.write("/etc/hostname", b"old\n")
    commit.apply(system, Plan("x", actions=(action,)))
    system.write("/etc/hostname", b"new\n")  # what `name` has done
    commit.roll_back(system)
    assert system.read("/etc/hostname") == b"new\n"  # `name old` is run, it is not ours
    assert "name old" in system.ran
    system.write("/etc/hostname", b"old\n")
    commit.apply(system, Plan("x", actions=(action,)))
    system.write("/etc/hostname", b"new\n")
    system.restart()
    commit.recover(system, boot=True)
    assert system.read("/etc/hostname") == b"old\n"


def test_a_link_and_a_folder_in_the_way(tmp_path: Path) -> None:
    system = machine(tmp_path)
    system.link("/etc/a.conf", "elsewhere")
    commit.apply(system, _PLAN)
    assert system.read("/etc/a.conf") == b"new a\n"
    commit.roll_back(system)
    entry = system.entry("/etc/a.conf")
    assert entry is not None and (entry.kind, entry.target) == ("link", "elsewhere")
    with pytest.raises(Refusal, match="/etc/d is no file"):
        commit.apply(system, Plan("x", writes=(Write("/etc/d", b""),)))
    assert commit.waiting(system) is None


def test_a_damaged_journal_is_said_not_guessed(tmp_path: Path) -> None:
    system = machine(tmp_path)
    system.write("/var/lib/agent-proxy/transaction/journal.json", b"{}")
    with pytest.raises(Problems, match=r"journal\.json: cannot be read"):
        commit.recover(system)


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    machine(tmp_path)
    dry = DryRun(Machine(tmp_path))
    commit.apply(dry, _PLAN)
    assert Machine(tmp_path).content() == _OLD
    assert "would write /etc/a.conf (6 bytes, 0640 root:root)" in map(str, dry.recorded)
    assert "would run reload it" in map(str, dry.recorded)


@pytest.mark.parametrize("forgets", [False, True], ids=["kept", "unflushed-lost"])
def test_power_cut_at_every_step_leaves_old_or_new(tmp_path: Path, *, forgets: bool) -> None:
    """Cut before the n-th step of applying, for every n: recovery at boot finds old or new."""
    seen = set()
    for cut_at in itertools.count():
        folder = tmp_path / str(cut_at)
        machine(folder)
        system = Faulty(folder, cut_at=cut_at, forgets=forgets)
        try:
            commit.apply(system, _PLAN, confirm_s=0)
        except PowerCut:
            after = Machine(folder)
            after.restart()
            commit.recover(after, boot=True)
            assert commit.waiting(after) is None
            content = {p: c for p, c in after.content().items() if not p.endswith(".new")}
            assert content in (_OLD, _NEW), f"half a change after step {cut_at}"
            seen.add("new" if content == _NEW else "old")
        else:
            break
    assert cut_at > 15
    assert "old" in seen  # and "new" where the cut came while the journal was being removed


@pytest.mark.parametrize("forgets", [False, True], ids=["kept", "unflushed-lost"])
def test_power_cut_at_every_step_of_taking_back(tmp_path: Path, *, forgets: bool) -> None:
    """Not confirmed, then the power fails at each step of the roll-back: the old state results."""
    for cut_at in itertools.count():
        folder = tmp_path / str(cut_at)
        commit.apply(machine(folder), _PLAN)
        system = Faulty(folder, cut_at=cut_at, forgets=forgets)
        system.up_s += 500
        try:
            commit.recover(system)
        except PowerCut:
            after = Machine(folder)
            after.restart()
            commit.recover(after, boot=True)
            content = {p: c for p, c in after.content().items() if not p.endswith(".new")}
            assert content == _OLD, f"not the old state after step {cut_at}"
        else:
            break
    assert cut_at > 10


class Full(Machine):
    """Its disk takes nothing more from the n-th file on; `takes` is how many it still takes."""

    takes = 1_000

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, owner: str = "root:root"
    ) -> None:
        if self.takes == 0:
            raise OSError(28, "No space left on device")
        self.takes -= 1
        super().write(path, content, mode=mode, owner=owner)


def test_a_disk_that_is_full_lets_nothing_be_changed(tmp_path: Path) -> None:
    system = machine(tmp_path, Full)
    assert isinstance(system, Full)
    system.takes = 0
    with pytest.raises(Refusal, match="nothing was changed: .* No space left on device"):
        commit.apply(system, _PLAN)
    assert (system.content(), commit.waiting(system)) == (_OLD, None)
    assert system.ran == [f"systemctl start {_TIMER}", f"systemctl stop {_TIMER}"]


def test_a_disk_that_gets_full_on_the_way_is_told_and_taken_back_once_there_is_room(
    tmp_path: Path,
) -> None:
    for takes in itertools.count(1):
        system = machine(tmp_path / str(takes), Full)
        assert isinstance(system, Full)
        system.takes = takes
        try:
            applied = commit.apply(system, _PLAN, confirm_s=0)
        except Refusal as refusal:
            assert "cannot be taken back yet: No space left on device" in str(refusal)
            assert f"systemctl start {_TIMER}" in system.ran
            system.takes = 1_000  # somebody has made room
            assert commit.recover(system) == ("a change", [])
            assert system.content() == _OLD
        else:
            assert (applied.rolled_back, system.content()) == ("", _NEW)
            break
    assert takes > 3


def test_a_unit_that_fails_is_quoted(tmp_path: Path) -> None:
    """systemctl says: see "journalctl -xeu"; at the console there is no shell to see it in."""
    system = Machine(tmp_path)
    reload = ("systemctl", "reload-or-restart", "agent-proxy-firewall.service")
    system.answers[" ".join(reload)] = Completed(1, "", "Job for it failed. See journalctl.")
    asked = "journalctl --no-pager --output=cat --lines=4 --unit=agent-proxy-firewall.service"
    said = "a.nft:7: syntax error\nControl process exited, code=exited, status=1/FAILURE\n"
    plan = Plan("rules", (), (), (Action(reload, "loading"),))
    found = commit.apply(system, plan)
    assert found.rolled_back.endswith("failed with 1: Job for it failed. See journalctl.")
    system.answers[asked] = Completed(0, said, "")
    found = commit.apply(system, plan)
    assert "a.nft:7: syntax error; Control process exited, code=exited" in found.rolled_back
