"""Drafts: kept for root alone, offered, gone when they are done with."""

from __future__ import annotations

from pathlib import Path

from appliance import draft
from appliance.draft import Draft, FormDraft, Keeper
from appliance.editor import Editor
from appliance.form import Field, Form
from tests.unit.appliance.machines import Machine


def edited(text: str, *keys: str) -> Editor:
    made = Editor("t", text, lambda text: None, is_kept=True)
    for key in keys:
        made.key(key)
    return made


def test_a_change_is_kept_for_root_alone_and_dropped_when_it_is_left(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    keeper = Keeper(machine)
    editor = edited("one")
    keeper.attend(editor, 10.0)
    assert draft.newest(machine) is None, "nothing was changed"
    editor.key("x")
    keeper.attend(editor, 10.0)
    kept = draft.newest(machine)
    assert isinstance(kept, Draft) and kept.text == "xone" and kept.began_with("one")
    entry = machine.entry(kept.path)
    assert entry is not None and entry.mode == 0o600
    assert Path(machine.path(kept.path)).parent.stat().st_mode & 0o777 == 0o700
    editor.key("y")
    keeper.attend(editor, 11.0)
    assert draft.newest(machine) == kept, "not with every key"
    keeper.attend(None, 12.0)
    assert draft.newest(machine) is None


def test_a_log_out_keeps_the_last_of_it_and_the_next_one_takes_it_over(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    keeper = Keeper(machine)
    editor = edited("one", "x")
    keeper.attend(editor, 10.0)
    editor.key("y")
    keeper.let_go(editor)
    kept = draft.newest(machine)
    assert isinstance(kept, Draft) and kept.text == "xyone"

    other = Keeper(machine)
    other.take(kept)
    resumed = Editor("t", "one", lambda text: None, begun=kept.text, is_kept=True)
    assert resumed.now == "xyone" and resumed.is_changed
    other.attend(resumed, 20.0)
    other.attend(None, 21.0)
    assert draft.newest(machine) is None


def test_what_waits_to_be_confirmed_is_kept_until_then(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for confirmed in (True, False):
        keeper = Keeper(machine)
        keeper.attend(edited("one", "x"), 10.0)
        keeper.applied(waits=True)
        keeper.attend(None, 11.0)
        assert draft.newest(machine) is not None
        if confirmed:
            keeper.confirmed()
        else:
            keeper.let_go(None)  # cut off, and taken back
        assert (draft.newest(machine) is None) == confirmed


def test_two_consoles_do_not_write_over_each_other_and_damage_is_no_draft(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    one, two = Keeper(machine), Keeper(machine)
    one.attend(edited("t", "1"), 10.0)
    machine.time += 5
    two.attend(edited("t", "2"), 10.0)
    kept = draft.newest(machine)
    assert isinstance(kept, Draft) and kept.text == "2t"
    draft.drop(machine, kept.path)
    kept = draft.newest(machine)
    assert isinstance(kept, Draft) and kept.text == "1t"
    machine.write(kept.path, b'{"text"')
    assert draft.newest(machine) is None


def test_a_form_is_kept_without_what_is_typed_unseen(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    fields = [Field("file", "file"), Field("passphrase", "passphrase", secret=True)]
    form = Form("Backup create", fields, lambda fields: None)
    assert not draft.keep_form(machine, form, "verb", "backup create"), "nothing was typed"
    fields[1].text = "correct horse battery"
    assert not draft.keep_form(machine, form, "verb", "backup create"), "nothing but a secret"
    assert draft.newest(machine) is None
    fields[0].text = "/media/one.backup"
    assert draft.keep_form(machine, form, "verb", "backup create")
    kept = draft.newest(machine)
    assert isinstance(kept, FormDraft)
    assert (kept.title, kept.what, kept.of) == ("Backup create", "verb", "backup create")
    assert kept.values == {"file": "/media/one.backup"}
    assert b"horse" not in (machine.read(kept.path) or b"")
    entry = machine.entry(kept.path)
    assert entry is not None and entry.mode == 0o600
