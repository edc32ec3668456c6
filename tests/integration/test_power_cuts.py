"""The power fails before writes, renames and programs of what an operator may do.

What was not flushed is lost as well. After the start of the machine there is the old state or the
new one, never half of it. Others: first boot in test_first_boot, factory reset in test_node_verbs,
a plan of any kind in test_commit.
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import cli, install, release, sealed, upgrade
from appliance.errors import Refusal
from appliance.places import CONF
from appliance.release import Release
from appliance.system import Completed, Fetched
from proxy import __version__, certificates, chain
from tests.unit.appliance.machines import Faulty, Machine, PowerCut, recorded

# Each step of a plan is cut in test_commit; here it is every seventh of the whole verb.
_EVERY = 7
_WORDS = "correct horse battery staple"
_RUNNING = Completed(0, "agent-proxy:worker-0 RUNNING pid 1\n", "")
Content = dict[str, bytes]


def _content(machine: Machine) -> Content:
    """Return what the disk holds, without what is about to be renamed, and logs of the change."""
    kept = machine.content()
    return {path: text for path, text in kept.items() if not path.endswith(".new")}


def _copy(template: Machine, folder: Path, kind: Callable[[Path], Machine]) -> Machine:
    shutil.copytree(template.root, folder, symlinks=True)
    made = kind(folder)
    made.answers, made.pages = dict(template.answers), dict(template.pages)
    return made


def _pair() -> tuple[bytes, bytes]:
    pem, key = certificates.self_signed(["proxy.example.com"], 30)
    return pem, chain.key_block(key)


def _network(template: Machine) -> tuple[str, ...]:
    return ("network", "set", "eth0", "--address", "10.1.2.9/24", "--vlan", "100")


def _settings(template: Machine) -> tuple[str, ...]:
    return ("settings", "set", "platform.networks", "8.7.6.5")


def _certificate(template: Machine) -> tuple[str, ...]:
    pem, key = _pair()
    (Path(template.root) / "new.pem").write_bytes(pem)
    (Path(template.root) / "new.key").write_bytes(key)
    place = Path(template.root)
    return ("certificate", "install", str(place / "new.pem"), "--key-file", str(place / "new.key"))


def _restore(template: Machine) -> tuple[str, ...]:
    other = recorded(Path(template.root).parent / "other")
    assert cli.main(["settings", "set", "proxy.id", "ANOTHERPROXY"], other) == 0
    assert cli.main(["confirm"], other) == 0
    assert cli.main(["network", "set", "eth0", "--address", "10.1.2.8/24"], other) == 0
    assert cli.main(["confirm"], other) == 0
    sys.stdin = io.StringIO(f"{_WORDS}\n")
    assert cli.main(["backup", "create"], other) == 0
    (name,) = other.list("/var/lib/agent-proxy/backups")
    template.write("/media/b", other.read(f"/var/lib/agent-proxy/backups/{name}") or b"")
    return ("backup", "restore", "/media/b", "--yes")


@pytest.mark.deadline(180)
@pytest.mark.parametrize(
    "prepare", [_network, _settings, _certificate, _restore], ids=lambda one: one.__name__[1:]
)
def test_a_verb_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Machine], tuple[str, ...]]
) -> None:
    monkeypatch.setattr(sealed, "_COST", 1 << 14)
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    template = recorded(tmp_path / "template")
    template.answers["supervisorctl status"] = _RUNNING  # nobody need be waited for
    words = prepare(template)
    old = _content(template)
    whole = _copy(template, tmp_path / "whole", Machine)
    _type(monkeypatch)
    assert cli.main(list(words), whole) == 0
    assert cli.main(["confirm"], whole) == 0
    new = set(_content(whole))
    seen = set()
    for cut_at in itertools.count(0, _EVERY):
        folder = tmp_path / str(cut_at)
        faulty = _copy(
            template, folder, lambda one, at=cut_at: Faulty(one, cut_at=at, forgets=True)
        )
        _type(monkeypatch)
        try:
            assert cli.main(list(words), faulty) == 0
            assert cli.main(["confirm"], faulty) == 0
            break
        except PowerCut:
            after = Machine(folder)
            after.restart()
            assert cli.main(["recover", "--boot"], after) == 0
            found = _content(after)
            seen.add(found == old)
            assert found == old or set(found) == new, f"half a change after step {cut_at}"
        shutil.rmtree(folder)
    assert cut_at > 20
    assert seen >= {True}


def _type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{_WORDS}\n"))


# -- upgrade

_NEW_VERSION = "9.0.0"
_UNIT = "/etc/systemd/system/agent-proxy-x.service"


def _released(version: str) -> dict[str, bytes]:
    return {
        f"files{_UNIT}": f"# of {version}\n".encode(),
        f"files/etc/agent-proxy-{version}": b"only this release has it\n",
        "conf/agent-proxy.service": f"# service of {version}\n".encode(),
        "conf/supervisord.conf": b"",
        "requirements.txt": b"",
        f"wheels/agent_proxy-{version}-py3-none-any.whl": b"",
    }


class _Upgrading:
    """Carries out what the programs of an upgrade do to the disk."""

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        done: Completed = super().run(argv, input=input, timeout_s=timeout_s)  # type: ignore[misc]
        if argv[1:3] == ("-m", "appliance.install"):
            install.place(self, argv[3])  # type: ignore[arg-type]
            install.switch(self, argv[3])  # type: ignore[arg-type]
        if argv[1:3] == ("-m", "appliance.migrations"):
            return Completed(0, input.decode() + "\n# migrated\n", "")
        if argv[:2] == ("rm", "-rf"):
            shutil.rmtree(Path(self.root + argv[2]), ignore_errors=True)  # type: ignore[attr-defined]
        return done


class _Whole(_Upgrading, Machine):
    pass


class _Cut(_Upgrading, Faulty):
    pass


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine on the release that runs, ready, with a file that is a good release."""
    made = recorded(tmp_path / "template")
    found = _Whole(Path(made.root))
    found.answers, found.pages = made.answers, made.pages
    for name, content in _released(__version__).items():
        found.write(f"/opt/agent-proxy/releases/{__version__}/{name}", content)
    found.write("/opt/agent-proxy/venv/bin/x", b"")
    shutil.rmtree(Path(found.root) / "opt/agent-proxy/venv")
    install.place(found, __version__)
    install.switch(found, __version__)
    ready = {"ready": True, "workers": dict.fromkeys(("0", "900"), "ready")}
    found.pages["/ready"] = Fetched(200, json.dumps(ready).encode())
    found.answers["supervisorctl status"] = _RUNNING
    found.answers["systemctl is-active agent-proxy-trial.service"] = Completed(0, "active\n", "")
    found.answers["agent-proxy-appliance --version"] = Completed(0, _NEW_VERSION, "")
    good = Release(_NEW_VERSION, _released(_NEW_VERSION), {})
    monkeypatch.setattr(release, "judge", lambda content, keys: good)
    found.write("/new.release", b"a release")
    return found


def _state(machine: Machine) -> tuple[str, ...]:
    """Return of which version everything is that a start of the machine goes by."""
    entry = machine.entry("/opt/agent-proxy/current")
    assert entry is not None
    extra = machine.list("/etc")
    return (
        entry.target.rpartition("/")[2],
        (machine.read(_UNIT) or b"").decode().split()[-1],
        (machine.read("/etc/systemd/system/agent-proxy.service") or b"").decode().split()[-1],
        " ".join(one.removeprefix("agent-proxy-") for one in extra if one[-1:].isdigit()),
        _NEW_VERSION if b"# migrated" in (machine.read(CONF) or b"") else __version__,
    )


_OLD, _NEW = (__version__,) * 5, (_NEW_VERSION,) * 5


def test_an_upgrade_and_its_roll_back_change_everything(template: Machine) -> None:
    assert _state(template) == _OLD
    upgrade.run(template, "/new.release", watch_s=3)
    assert _state(template) == _NEW
    upgrade.roll_back(template)
    assert _state(template) == _OLD
    with pytest.raises(Refusal, match="no upgrade to take back"):
        upgrade.roll_back(template)


@pytest.mark.deadline(300)
def test_an_upgrade_leaves_old_or_new(template: Machine, tmp_path: Path) -> None:
    seen = set()
    for cut_at in itertools.count(0, 3):  # a write takes five steps
        folder = tmp_path / str(cut_at)
        cut = _copy(template, folder, lambda one, at=cut_at: _Cut(one, cut_at=at, forgets=True))
        try:
            upgrade.run(cut, "/new.release", watch_s=3)
            break
        except PowerCut:
            after = _copy_of(template, folder)
            upgrade.recover(after)
            assert _state(after) in (_OLD, _NEW), f"half an upgrade after step {cut_at}"
            assert after.entry(upgrade.UNFINISHED) is None
            seen.add(_state(after))
        shutil.rmtree(folder)
    assert cut_at > 100
    assert seen == {_OLD, _NEW}


@pytest.mark.deadline(180)
def test_taking_an_upgrade_back_at_the_start_can_be_cut_off_as_well(
    template: Machine, tmp_path: Path
) -> None:
    halfway = _copy(template, tmp_path / "halfway", _Whole)
    found = Release(_NEW_VERSION, _released(_NEW_VERSION), {})
    upgrade._install(halfway, found)
    upgrade._switch(
        halfway, _NEW_VERSION, CONF, (halfway.read(CONF) or b"").decode() + "# migrated"
    )
    assert _state(halfway) == _NEW
    for cut_at in itertools.count(0, 2):
        folder = tmp_path / str(cut_at)
        cut = _copy(halfway, folder, lambda one, at=cut_at: _Cut(one, cut_at=at, forgets=True))
        try:
            upgrade.recover(cut)
            assert _state(cut) == _OLD
            break
        except PowerCut:
            after = _copy_of(template, folder)
            upgrade.recover(after)
            assert _state(after) == _OLD, f"step {cut_at}"
        shutil.rmtree(folder)
    assert cut_at > 10


def _copy_of(template: Machine, folder: Path) -> Machine:
    after = _Whole(folder)
    after.answers, after.pages = dict(template.answers), dict(template.pages)
    after.restart()
    return after
