"""The appliance, installed once as an operator would, and machines that boot it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.appliance import base
from tests.appliance.container import Machine
from tests.appliance.releases import Publisher
from tests.lab.cast import Lab

Boot = Callable[..., Machine]
SEED = "/var/lib/agent-proxy/seed/user-data"
PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    try:
        base.require()
    except base.Unavailable as reason:
        pytest.skip(f"no containers here: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="appliance-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def installed(home: Path) -> list[Path]:
    """The layers of a disk with the appliance installed, not yet started."""
    return install("trixie", home)


def install(suite: str, home: Path) -> list[Path]:
    try:
        debian, wheels = base.debian(suite), base.wheels(suite)
    except base.Unavailable as reason:
        pytest.skip(f"no containers here: {reason}")
    machine = Machine(f"install-{suite}", home, [debian])
    try:
        binds = (f"{base.ROOT}:/src", f"{wheels}:/wheels")
        machine.once("make", "-C", "/src", "appliance-install", "WHEELS=/wheels", binds=binds)
        return [machine.take_disk(home / f"installed-{suite}"), debian]
    finally:
        machine.close()


@pytest.fixture(scope="session")
def publisher(home: Path) -> Publisher:
    return Publisher(home / "publisher", base.wheels("trixie"))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A switch with the appliance's cable in it, a platform, and room for agents."""
    with Lab(print) as made:
        made.net.switch("lan")
        made.net.machine("proxy", "other", "platform")
        made.net.cable("proxy", "eth0", "lan")
        made.net.cable("other", "eth0", "lan")
        made.net.attach("platform", "eth0", "lan", "10.1.2.9/24")
        yield made


@pytest.fixture
def boot(home: Path, installed: list[Path], lab: Lab) -> Iterator[Boot]:
    """Boots machines; all of them end with the test."""
    machines: list[Machine] = []

    def booted(
        name: str, *, netns: str = "proxy", answers: str = "", layers: list[Path] | None = None
    ) -> Machine:
        netns = lab.net.full(netns) if netns else ""
        machine = Machine(f"{name}-{time.monotonic_ns()}", home, layers or installed, netns)
        machines.append(machine)
        if answers:
            machine.write(SEED, answers, 0o600)
        return machine.boot()

    yield booted
    for machine in machines:
        machine.close()


def answers(**more: str) -> str:
    """Return user data that is enough; keyword `a__b` is the key a.b, an empty one is left out."""
    values = {
        "hostname": "proxy-1",
        "network.eth0.address": "10.1.2.3/24",
        "console.password": PASSWORD,
        "proxy.id": "45BCEBB32AA9",
        "upstream.endpoint": "10.1.2.9:3302",
        "platform.networks": "10.1.2.9",
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    lines = [f"  {key}: {value}" for key, value in values.items() if value]
    return "\n".join(["#cloud-config", "agent-proxy:", *lines, ""])
