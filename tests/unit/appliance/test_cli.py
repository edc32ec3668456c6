"""The command line is made from VERBS: nothing is missing, everything has help and examples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import cli, commit, loading
from appliance.plan import Plan, Write
from appliance.verb import Verb
from appliance.verbs import VERBS, named
from tests.unit.appliance.machines import Machine

_IDS = [verb.name for verb in VERBS]


@pytest.mark.parametrize("verb", VERBS, ids=_IDS)
def test_each_verb_has_help_with_examples_and_json(
    verb: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.parser().parse_args([*verb.words, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "examples:" in shown and "--json" in shown
    assert ("--dry-run" in shown) == verb.changes
    assert ("--yes" in shown) == verb.dangerous
    assert verb.examples


@pytest.mark.parametrize("verb", VERBS, ids=_IDS)
def test_each_example_can_be_parsed(verb: Verb) -> None:
    import shlex

    for example in verb.examples:
        command = example.partition(" <")[0].partition(" >")[0].rpartition("| ")[2]
        words = shlex.split(command)
        assert words[0] == "agent-proxy-appliance"
        assert cli.parser().parse_args(words[1:]).verb is verb


@pytest.mark.parametrize("word", sorted({verb.words[0] for verb in VERBS}))
def test_a_word_loads_the_verbs_that_begin_with_it(word: str) -> None:
    assert loading.beginning_with(word) == tuple(v for v in VERBS if v.words[0] == word)


_LOADED = """
import sys
from appliance import cli
try:
    cli.main(sys.argv[1:])
except SystemExit:
    pass
print(*sorted(name for name in sys.modules if name.startswith(("appliance.", "urwid", "yaml"))))
"""


def loaded(*words: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, *words],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_what_each_start_of_a_machine_runs_loads_little() -> None:
    """All that there is takes seconds on an emulated processor, before anything is done."""
    assert not loaded("--version") & {"appliance.verbs", "appliance.console", "appliance.facts"}
    names = loaded("recover", "--boot", "--dry-run")
    assert "appliance.commit" in names
    assert not names & {"appliance.verbs", "appliance.console", "appliance.facts", "urwid", "yaml"}
    names = loaded("first-boot", "status")
    assert not names & {"appliance.verbs", "appliance.console", "appliance.menu", "urwid"}


def test_no_secret_is_ever_an_argument() -> None:
    for verb in VERBS:
        for argument in verb.arguments:
            if any(word in argument.name for word in ("password", "passphrase", "secret")):
                assert argument.kind == "secret", f"{verb.name} {argument.name}"


def test_names_are_unique_and_one_is_no_beginning_of_another() -> None:
    words = [verb.words for verb in VERBS]
    assert len(set(words)) == len(words)
    assert not [(a, b) for a in words for b in words if a != b and b[: len(a)] == a]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.write("/f", b"old")
    commit.apply(made, Plan("a change", (Write("/f", b"new"),)))
    return made


def test_confirm(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["waiting", "--json"], machine) == 0
    assert json.loads(capsys.readouterr().out) == {
        "title": "a change",
        "state": "unconfirmed",
        "left_s": 120.0,
    }
    assert cli.main(["confirm", "--dry-run"], machine) == 0
    assert "would run systemctl stop agent-proxy-rollback.timer" in capsys.readouterr().out
    assert cli.main(["confirm"], machine) == 0
    assert "a change: confirmed" in capsys.readouterr().out
    assert cli.main(["confirm"], machine) == 1
    assert "no change waits" in capsys.readouterr().err
    assert cli.main(["rollback", "--json"], machine) == 1
    assert "nothing to roll back" in json.loads(capsys.readouterr().out)["error"]
    assert cli.main(["waiting"], machine) == 0


def test_roll_back_and_recover(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recover"], machine) == 0
    assert "Nothing to take back" in capsys.readouterr().out
    assert cli.main(["rollback"], machine) == 0
    assert machine.read("/f") == b"old"


def test_a_verb_is_found_by_its_name() -> None:
    assert named("confirm").words == ("confirm",)


def test_what_the_machine_refuses_is_told_in_a_line(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/f")

    monkeypatch.setattr(machine, "write", full)
    assert cli.main(["rollback"], machine) == 1
    assert capsys.readouterr().err == "agent-proxy-appliance: /f: No space left on device\n"
