"""The console's log-in where the disk, the clock or the file is not as it should be."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import login, passwords
from appliance.errors import Refusal
from tests.unit.appliance.machines import Machine

PASSWORD = "seven quiet horses"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    login.set_password(made, PASSWORD)
    return made


class Full(Machine):
    """A machine whose disk takes nothing; memory (/run) still does."""

    full = True

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, owner: str = "root:root"
    ) -> None:
        if self.full and not path.startswith("/run/"):
            raise OSError(28, "No space left on device")
        super().write(path, content, mode=mode, owner=owner)


def test_a_full_disk_keeps_nobody_out_and_forgets_no_wrong_attempt(
    machine: Machine, tmp_path: Path
) -> None:
    full = Full(tmp_path)
    for _ in range(3):
        with pytest.raises(Refusal, match="Wrong password"):
            login.attempt(full, "wrong")
    with pytest.raises(Refusal, match="Wait 2 s"):
        login.attempt(full, PASSWORD)
    full.time += 3
    login.attempt(full, PASSWORD)
    assert login.wait_s(full) == 0
    full.full = False
    login.attempt(full, PASSWORD)
    assert passwords.is_set(full.read(passwords.PATH))


def test_a_clock_that_was_corrected_back_locks_nobody_out(machine: Machine) -> None:
    machine.time += 10 * 365 * 86400
    for _ in range(4):
        machine.time += login.wait_s(machine)
        with pytest.raises(Refusal, match="Wrong"):
            login.attempt(machine, "wrong")
    machine.time -= 10 * 365 * 86400
    with pytest.raises(Refusal, match="Wait"):
        login.attempt(machine, PASSWORD)
    machine.time += 10
    login.attempt(machine, PASSWORD)


@pytest.mark.parametrize("content", [b"[]", b"nonsense", b'{"wrong": "x", "wrong_at": null}'])
def test_a_spoilt_file_is_no_password_and_no_defect(machine: Machine, content: bytes) -> None:
    machine.write(passwords.PATH, content)
    assert login.wait_s(machine) == 0
    with pytest.raises(Refusal):
        login.attempt(machine, PASSWORD)
