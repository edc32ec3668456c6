"""The image under test, and the network that its machines stand in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.machine import Machine, missing
from tests.image.shell import PATIENCE_S
from tests.lab.cast import Lab

ROOT = Path(__file__).parents[2]
PASSWORD = "seven quiet horses"
# Enough for a machine to be set up; it makes its own ID.
ANSWERS: dict[str, str] = {
    "network.1.address": "10.1.2.3/24",
    "console.password": PASSWORD,
    "upstream.endpoint": "10.1.2.9:3302",
    "upstream.verify": "no",
    "platform.networks": "10.1.2.9",
}
ACCELERATOR = os.environ.get("ACCELERATOR", "tcg")
Started = Callable[[str, Path], Machine]


def built(pattern: str) -> Path:
    """Return the newest file of the image; a test that has none says what to do and is skipped."""
    folder = Path(os.environ.get("IMAGE_OUT") or ROOT / "dist" / "image")
    found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    why = missing("mkfs.vfat", "mcopy", "xorriso") or (
        "" if found else f"{folder} has no {pattern}: make image"
    )
    if why:
        pytest.skip(why)
    return found[-1]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A switch, a platform at 10.1.2.9 that calls 10.1.2.3, and two machines for agents."""
    if why := missing():
        pytest.skip(why)
    with Lab(print) as made:
        made.net.switch("lan")
        made.net.machine("platform", "vm-1", "vm-2")
        for name, host in (("platform", 9), ("vm-1", 7), ("vm-2", 8)):
            made.net.attach(name, "eth0", "lan", f"10.1.2.{host}/24")
        made.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
        yield made


@pytest.fixture(scope="module")
def machines(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Makes machines, each with a disk of its own over an image; all end with the module."""
    made: list[Machine] = []

    def make(name: str, image: Path) -> Machine:
        home = tmp_path_factory.mktemp("machine")
        machine = Machine(home, name, image, accelerator=ACCELERATOR)
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.cut()


def serves(lab: Lab, tag: str, patience_s: float = PATIENCE_S) -> float:
    """New agents shake hands through the machine, and are called back; return the handshake's time.

    They are others each time: a machine that is new has another key, and seals other routes.
    """
    agents = []
    try:
        # One after the other: the last generation waits twice as long after each attempt in vain.
        for machine, generation, host in (("vm-1", "first", 7), ("vm-2", "last", 8)):
            name = f"{generation}-{tag}"
            agents.append(lab.agent(machine, generation, f"10.1.2.{host}", "10.1.2.3:2002", name))
            lab.until(f"the handshake of {name}", lambda name=name: name in _known(lab), patience_s)
        shaken = time.monotonic()
        lab.shake_and_call(f"first-{tag}", f"last-{tag}")
        return shaken
    finally:
        for agent in agents:
            lab.end(agent, kill=True)


def _known(lab: Lab) -> set[str]:
    return {agent["name"] for agent in lab.order("GET", "/agents")}
