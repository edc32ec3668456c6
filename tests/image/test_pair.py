"""Two machines of one image as one agent proxy, one ID and secret, behind HAProxy; one dies."""

from __future__ import annotations

import os
import shutil
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
_HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if why := missing() or ("" if _HAPROXY else "haproxy is not installed (sh tests/packages.sh)"):
        pytest.skip(why)
    with Lab(print) as made:
        made.net.switch("lan")
        made.net.machine("haproxy", "platform", "vm-1", "vm-2")
        for name, host in (("haproxy", 2), ("platform", 9), ("vm-1", 7), ("vm-2", 8)):
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
    lab.agent("vm-1", "first", "10.1.2.7", "10.1.2.2:2002", "first-1")
    lab.agent("vm-2", "last", "10.1.2.8", "10.1.2.2:2002", "last-1")
    lab.until("the handshake of first-1", lambda: "first-1" in _known(lab), PATIENCE_S)
    lab.until("the handshake of last-1", lambda: "last-1" in _known(lab), PATIENCE_S)
    found = lab.shake_and_call("first-1", "last-1")
    assert [known["address"] for known in found.values()] == ["10.1.2.7", "10.1.2.8"]
    lab.until("both nodes have answered", lambda: len(_nodes(lab)) == 2, PATIENCE_S)
    told = _nodes(lab)
    assert len(set(told.values())) == 2, "both nodes have one key"
    pair[0].cut()
    lab.until("HAProxy has seen it", lambda: "node-1 is DOWN" in log.read_text(), PATIENCE_S)
    assert set(_nodes(lab)) == {"node-2"}
    # Routes that the dead one minted are followed by its partner, which shares the secret.
    lab.call("first-1", found["first-1"])
    lab.until("last-1 is back", lambda: lab.call("last-1", lab.known("last-1")) is None, 60)


def _known(lab: Lab) -> set[str]:
    return {agent["name"] for agent in lab.order("GET", "/agents")}


def _nodes(lab: Lab) -> dict[str, str]:
    """Return who answers when asked six times for the registration: node -> certificate."""
    answers = [lab.order("POST", "/register") for _ in range(6)]
    assert {answer["agentProxyId"] for answer in answers} == {"45BCEBB32AA9"}
    return {answer["node"]: answer["certificateSha256"] for answer in answers}
