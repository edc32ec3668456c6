"""A balanced group is upgraded one node after the other, and nobody notices.

Two machines behind HAProxy serve numbered requests and WebSockets meanwhile; a ledger in the place
of the platform counts each number. Nobody tells the balancer anything.
"""

from __future__ import annotations

import json

import pytest

from proxy import __version__
from tests.appliance.conftest import Boot, answers
from tests.appliance.container import Machine
from tests.appliance.releases import Publisher
from tests.appliance.upgrading import let_upgrade, supervisord, upgrade, version
from tests.fakes.certificates import self_signed
from tests.lab.cast import Lab
from tests.lab.topologies import ROOT
from tests.load.running import Callers, Ledger

pytestmark = pytest.mark.deadline(900)

_NODES = (("node-1", "proxy", "10.1.2.3"), ("node-2", "other", "10.1.2.4"))
_RATE = 20.0
_TUNNELS = 6


def test_a_group_is_upgraded_without_a_lost_request(
    boot: Boot, lab: Lab, publisher: Publisher
) -> None:
    pair = self_signed(lab.home / "ledger", "platform", ("10.1.2.9",))
    there = lab.net.inside("platform")
    with Ledger("10.1.2.9", pair, port=3302, inside=there) as ledger:
        nodes = [_node(boot, *one, publisher) for one in _NODES]
        lab.net.machine("haproxy", "vm")
        lab.net.attach("haproxy", "eth0", "lan", "10.1.2.2/24")
        lab.net.attach("vm", "eth0", "lan", "10.1.2.7/24")
        lab.spawn("haproxy", "/usr/sbin/haproxy", "-db", "-f", str(ROOT / "conf" / "haproxy.cfg"))
        with Callers(
            ("10.1.2.2", 2002),
            ["10.1.2.7"],
            inside=lab.net.inside("vm"),
            rate=_RATE,
            tunnels=_TUNNELS,
            message_s=0.5,
        ) as callers:
            callers.more(40)
            for node in nodes:
                _upgraded(node, publisher, callers)
            callers.report("end")
        _nothing_was_lost(callers, ledger)
    for node in nodes:
        assert version(node) == "0.9.1"
        assert node.failed() == []


def _node(boot: Boot, name: str, netns: str, address: str, publisher: Publisher) -> Machine:
    more = {
        "hostname": name,
        "network__eth0__address": f"{address}/24",
        "listen__balancers": "10.1.2.2",
        "proxy__secret": "a secret that both nodes of the group have",
        "upstream__verify": "no",
    }
    machine = boot(name, netns=netns, answers=answers(**more))
    machine.until("it is ready", lambda: machine.ready()["ready"])
    let_upgrade(machine, publisher)
    return machine


def _upgraded(node: Machine, publisher: Publisher, callers: Callers) -> None:
    """Everything of the node is of the new release afterwards, supervisord too."""
    assert version(node) == __version__
    before = supervisord(node)
    code, told = upgrade(node, publisher.release("0.9.1"))
    assert (code, told["state"]) == (0, "done"), json.dumps(told, indent=1)
    after = supervisord(node)
    assert after.pid != before.pid
    assert {one.release for one in after.children} == {"0.9.1"}, after
    assert not {one.pid for one in after.children} & {one.pid for one in before.children}
    assert sorted(one.what for one in after.children) == sorted(one.what for one in before.children)
    callers.more(20)


def _nothing_was_lost(callers: Callers, ledger: Ledger) -> None:
    assert callers.lost == [], callers.lost
    assert callers.total["count_lost"] == 0
    counted = ledger.ask()["requests"]
    assert counted["count_twice"] == 0, counted
    assert counted["came"] == callers.total["done"] > 400
    assert callers.total["messages"] > 100
    print(
        f"\n{callers.total['done']} requests and {callers.total['messages']} messages while both "
        f"nodes were upgraded: none lost, none twice; {callers.total['tunnels_ended']} tunnels "
        "came back"
    )
