"""Two machines of one image as one agent proxy, one ID and secret, behind HAProxy; one dies."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image.conftest import ANSWERS, Started, built
from tests.image.machine import missing
from tests.image.seeds import nocloud
from tests.image.shell import PATIENCE_S
from tests.lab.cast import Lab
from tests.lab.topologies import ROOT

pytestmark = pytest.mark.deadline(1500)
_CONF = ROOT / "conf" / "haproxy.cfg"  # its nodes are 10.1.2.3 and 10.1.2.4
_VMS = (("vm-1", 6), ("vm-2", 7), ("vm-3", 8))
_HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if why := missing() or ("" if _HAPROXY else "haproxy is not installed (sh tests/packages.sh)"):
        pytest.skip(why)
    with Lab(print) as made:
        made.net.switch("lan")
        made.net.machine("haproxy", "platform", "vm-1", "vm-2", "vm-3")
        for name, host in (("haproxy", 2), ("platform", 9), *_VMS):
            made.net.attach(name, "eth0", "lan", f"10.1.2.{host}/24")
        made.platform("platform", "10.1.2.9:3302", "10.1.2.2:2002")
        yield made


def test_one_of_a_pair_is_killed_and_the_other_serves(
    lab: Lab, machines: Started, tmp_path: Path
) -> None:
    assert _HAPROXY is not None
    pair = []
    for number in (1, 2):
        answers = {
            **ANSWERS,
            "hostname": f"node-{number}",
            "network.1.address": f"10.1.2.{number + 2}/24",
            "proxy.id": "45BCEBB32AA9",
            "proxy.secret": "one secret of both nodes, which seals the routes",
            "listen.balancers": "10.1.2.2",
        }
        machine = machines(f"node-{number}", built("agent-proxy-*.qcow2"))
        seed = nocloud(tmp_path / f"seed-{number}.img", answers, f"i-{number}")
        machine.start(lab.net, "lan", seed=seed)
        pair.append(machine)
    lab.spawn("haproxy", _HAPROXY, "-db", "-f", str(_CONF))
    log = lab.home / "haproxy.log"
    told: dict[str, str] = {}
    lab.until("both nodes have answered", lambda: len(_nodes(lab, told)) == 2, PATIENCE_S)
    assert len(set(told.values())) == 2, "both nodes have one key"
    # HAProxy gives a tunnel to the node that has fewer: one each.
    agents = ("first-1", "last-1", "last-2")
    for name, (machine, host) in zip(agents, _VMS, strict=True):
        lab.agent(machine, name[:-2], f"10.1.2.{host}", "10.1.2.2:2002", name)
        lab.until(f"the handshake of {name}", lambda name=name: name in _known(lab), PATIENCE_S)
    found = lab.shake_and_call(*agents)
    assert [known["address"] for known in found.values()] == [f"10.1.2.{host}" for _, host in _VMS]
    before = len(log.read_text())  # they were down while they started, too
    pair[0].cut()
    begun = time.monotonic()
    lab.until("HAProxy sees it", lambda: "node-1 is DOWN" in log.read_text()[before:], PATIENCE_S)
    print(f"   {time.monotonic() - begun:5.1f} s  after the cut HAProxy sends nothing to it")
    assert set(_nodes(lab, {})) == {"node-2"}
    # Routes that the dead one minted are followed by its partner, which shares the secret.
    lab.call("first-1", found["first-1"])
    # The tunnel through the dead one ends once HAProxy's probes go unanswered: after a minute.
    for name in agents[1:]:
        lab.until(f"{name} is back", lambda name=name: _answers(lab, name), PATIENCE_S)
    print(f"   {time.monotonic() - begun:5.1f} s  all agents can be called again")


def _answers(lab: Lab, name: str) -> bool:
    """Call an agent by what the platform knows of it now. Raises: RuntimeError if it cannot be."""
    agents = lab.order("GET", "/agents")
    known = [agent for agent in agents if agent["name"] == name and agent["connected"]]
    for agent in known:
        lab.call(name, agent)
    return bool(known)


def _known(lab: Lab) -> set[str]:
    return {agent["name"] for agent in lab.order("GET", "/agents")}


def _nodes(lab: Lab, told: dict[str, str]) -> dict[str, str]:
    """Ask six times for the registration, and add who answers: node -> certificate."""
    for _ in range(6):
        answer = lab.order("POST", "/register")
        assert answer["agentProxyId"] == "45BCEBB32AA9"
        told[answer["node"]] = answer["certificateSha256"]
    return told
