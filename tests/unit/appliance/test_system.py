"""The door to programs and disk: atomic, bounded, and the same for another root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from appliance.dry_run import DryRun
from appliance.system import Busy, Completed, System
from tests.unit.appliance.machines import Faulty, PowerCut


def test_a_program_is_run_without_a_shell_and_with_its_input() -> None:
    system = System()
    assert system.run(("cat",), input=b"in\n") == Completed(0, "in\n", "")
    assert system.ask(("echo", "$HOME; ls")) == Completed(0, "$HOME; ls\n", "")
    assert system.ask(("sh", "-c", "echo no >&2; exit 3")) == Completed(3, "", "no\n")
    assert "PATH=" in system.ask(("env",)).out and "HOME=" not in system.ask(("env",)).out


def test_a_program_that_does_not_exist_or_end() -> None:
    system = System()
    assert system.ask(("agent-proxy-no-such",)).code == 127
    done = system.run(("sh", "-c", "echo begun; sleep 60"), timeout_s=0.2)
    assert done.code == 124
    assert "did not end within 0.2 s" in done.said


def test_write_replaces_as_a_whole_and_sets_the_mode(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/etc/x/y.conf", b"one", mode=0o600)
    system.write("/etc/x/y.conf", b"two", mode=0o640)
    assert system.read("/etc/x/y.conf") == b"two"
    assert stat.S_IMODE((tmp_path / "etc/x/y.conf").stat().st_mode) == 0o640
    assert system.list("/etc/x") == ["y.conf"]
    system.remove("/etc/x/y.conf")
    system.remove("/etc/x/y.conf")
    assert system.read("/etc/x/y.conf") is None
    assert system.read("/etc/x/y.conf/z") is None
    assert system.list("/nowhere") == []


def test_write_does_not_follow_what_lies_in_its_way(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".f.new").symlink_to(tmp_path / "victim")
    system.write("/f", b"new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert system.read("/f") == b"new"


def test_a_link_is_switched_at_once(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.link("/opt/current", "releases/1")
    system.link("/opt/current", "releases/2")
    entry = system.entry("/opt/current")
    assert entry is not None and (entry.kind, entry.target) == ("link", "releases/2")
    assert system.entry("/opt/none") is None
    folder = system.entry("/opt")
    assert folder is not None and folder.kind == "folder"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_are_those_of_the_other_root(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:\nproxy:x:777:778::/:\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nproxy:x:778:\n")
    system = System(str(tmp_path))
    system.write("/f", b"", owner="proxy:proxy")
    found = (tmp_path / "f").stat()
    assert (found.st_uid, found.st_gid) == (777, 778)
    entry = system.entry("/f")
    assert entry is not None and entry.owner == "proxy:proxy"
    with pytest.raises(LookupError):
        system.write("/g", b"", owner="nobody-here:root")
    assert not (tmp_path / "g").exists()


def test_the_old_content_stays_until_the_rename(tmp_path: Path) -> None:
    System(str(tmp_path)).write("/f", b"old")
    for cut_at in range(4):
        with pytest.raises(PowerCut):
            Faulty(tmp_path, cut_at=cut_at).write("/f", b"new")
        expected = b"new" if cut_at == 3 else b"old"
        assert System(str(tmp_path)).read("/f") == expected
    Faulty(tmp_path, cut_at=4).write("/f", b"newer")
    assert System(str(tmp_path)).list("/") == ["f"]


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    with system.lock("/run/lock"):
        with pytest.raises(Busy), system.lock("/run/lock"):
            pass
    with system.lock("/run/lock"):
        pass


def test_tail_follows_a_file_and_its_rotation(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    system.write("/log", b"0123456789")
    assert system.tail("/log", 4) == (b"6789", 10)
    system.write("/log", b"0123456789ab")
    assert system.tail("/log", 100, since=10) == (b"ab", 12)
    system.write("/log", b"xy")
    assert system.tail("/log", 100, since=12) == (b"xy", 2)
    assert system.tail("/none", 100) == (b"", 0)


def test_a_dry_run_reads_what_it_would_have_written(tmp_path: Path) -> None:
    System(str(tmp_path)).write("/f", b"old")
    dry = DryRun(System(str(tmp_path)))
    assert dry.read("/f") == b"old"
    dry.write("/f", b"new")
    dry.run(("reboot",))
    assert dry.read("/f") == b"new"
    dry.remove("/f")
    assert dry.read("/f") is None and dry.entry("/f") is None
    assert System(str(tmp_path)).read("/f") == b"old"
    assert [one.kind for one in dry.recorded] == ["write", "run", "remove"]


def test_what_the_kernel_refuses_to_give_in_one_piece_is_read() -> None:
    """proc(5): a read of /proc/sys of 64 MiB at once fails with ENOMEM."""
    assert System().read("/proc/sys/kernel/hostname")
