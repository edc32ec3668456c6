"""What a diagnosis makes of facts: every verdict, each FAIL with a remedy, worded as a ticket."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from appliance import diagnose_arrivals, diagnose_machine, diagnose_network, diagnosis, facts
from appliance.access_log import Seen
from appliance.arrivals import Arrivals
from appliance.diagnosis import Case
from appliance.ini_edit import Change, changed
from appliance.places import CONF, Places
from appliance.readings import Memory, Route
from appliance.system import Completed, Fetched, Space
from proxy.outcome import Outcome
from proxy.probe import Deadline
from tests.unit.appliance.machines import Machine, recorded

_STATUS = {
    "ready": True,
    "workers": [{"worker": 0, "pid": 611, "connections": 100}],
    "zones": [
        {"name": "default", "listens": ["0.0.0.0 port 2002"], "problems": [], "connections": 0}
    ],
}
_CALL = Seen("2026-11-24T03:00:00.000Z", "platform", "8.7.6.5", "default", "registration", 200)


def case(folder: Path, page: object = None, log: Iterable[Seen] = (), **more: Any) -> Case:
    system = recorded(folder)
    text = (system.read(CONF) or b"").decode()
    changes = [
        Change(("platform",), "networks", "8.7.6.5, 8.7.7.0/28"),
        Change(("zones", "default"), "networks", "10.0.0.0/8"),
    ]
    system.write(CONF, changed(text, changes).encode())
    document = _STATUS if page is None else page
    system.pages["/status"] = Fetched(200, json.dumps(document).encode())
    limits = "Limit  Soft  Hard  Units\nMax open files            20000   20000   files\n"
    system.write("/proc/611/limits", limits.encode())
    found = dataclasses.replace(facts.gather(system, CONF), **more)
    assert found.settings is not None
    places = Places(CONF)
    return Case(system, places, found, found.settings, Deadline(60), tuple(log))


def named(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    found = {one.name: one for one in outcomes}
    assert all(one.remedy for one in found.values() if one.verdict == "FAIL"), found
    return found


# -- the machine


@pytest.mark.parametrize(
    ("name", "fields", "verdict", "detail"),
    [
        ("disk", {"disk": Space(100 << 30, 50 << 30, 9999)}, "PASS", "50.0 GB of 100.0 GB"),
        ("disk", {"disk": Space(100 << 30, 9 << 30, 9999)}, "FAIL", "9.0 GB of 100.0 GB"),
        ("disk", {"disk": Space(100 << 30, 50 << 30, 12)}, "FAIL", "12 files"),
        ("disk", {"disk": None}, "SKIP", "cannot be asked"),
        ("memory", {"memory": Memory(4 << 30, 3 << 30)}, "PASS", "3.0 GB of 4.0 GB"),
        ("memory", {"memory": Memory(4 << 30, 100 << 20)}, "FAIL", "100 MB of 4.0 GB"),
        ("memory", {"memory": None}, "SKIP", "meminfo"),
        ("time synchronisation", {"synchronised": True}, "PASS", "is synchronised"),
        ("time synchronisation", {"synchronised": False}, "FAIL", "follows no time server"),
        ("time synchronisation", {"synchronised": None}, "SKIP", "does not say"),
        ("processes", {}, "FAIL", "agent-proxy:worker-1 is STARTING"),
        ("processes", {"workers": ()}, "FAIL", "supervisor does not answer"),
        ("file descriptors", {}, "PASS", "worker 0: about 200 in use, 20000 allowed"),
        ("file descriptors", {"status": None}, "SKIP", "no worker answers"),
        ("listening in default", {}, "PASS", "listens on 0.0.0.0 port 2002"),
        ("ready", {}, "FAIL", "no worker answers"),
        ("loopback exchange", {}, "SKIP", "no proxy ID is set"),
    ],
)
def test_the_machine(
    tmp_path: Path, name: str, fields: dict[str, Any], verdict: str, detail: str
) -> None:
    found = named(diagnose_machine.outcomes(case(tmp_path, **fields)))[name]
    assert (found.verdict, detail in found.detail) == (verdict, True), found


@pytest.mark.parametrize(
    ("limit", "verdict", "detail"),
    [
        ("1024", "FAIL", "1024 allowed, 16896 are needed when full"),
        ("unlimited", "PASS", "allowed"),
        ("", "SKIP", "its limit cannot be read"),
    ],
)
def test_descriptors(tmp_path: Path, limit: str, verdict: str, detail: str) -> None:
    made = case(tmp_path)
    text = f"Max open files            {limit}   {limit}   files\n" if limit else "\n"
    made.system.write("/proc/611/limits", text.encode())
    found = named(diagnose_machine.outcomes(made))["file descriptors"]
    assert found.verdict == verdict and detail in found.detail


def test_a_zone_whose_interface_is_gone(tmp_path: Path) -> None:
    zone = {"name": "z", "listens": [], "problems": ["eth7 is missing"]}
    found = named(diagnose_machine.outcomes(case(tmp_path, {**_STATUS, "zones": [zone]})))
    assert found["listening in z"].verdict == "FAIL" and "eth7" in found["listening in z"].detail


# -- what it is connected to


def test_surroundings(tmp_path: Path) -> None:
    found = named(diagnose_network.surroundings(case(tmp_path, dns=())))
    assert {name: one.verdict for name, one in found.items()} == {
        "interface eth0": "PASS",
        "interface eth1": "SKIP",  # switched off by somebody
        "interface eth0.100": "FAIL",
        "default route": "PASS",
        "name server": "SKIP",
    }
    assert found["default route"].detail == "10.1.2.1 by eth0, 2001:db8:1::1 by eth0"
    found = named(diagnose_network.surroundings(case(tmp_path, dns=(), routes=())))
    assert found["default route"].verdict == "SKIP" and found["default route"].remedy


def test_the_way_to_an_address(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    get = "ip -j -4 route get 8.7.6.5"
    machine.answers[get] = Completed(
        0, '[{"dst":"8.7.6.5","gateway":"10.1.2.1","dev":"eth0","prefsrc":"10.1.2.3"}]', ""
    )
    assert diagnosis.route_to(machine, "8.7.6.5") == Route(
        "8.7.6.5", "10.1.2.1", "eth0", "10.1.2.3"
    )
    machine.answers[get] = Completed(2, "", "RTNETLINK answers: Network is unreachable")
    assert diagnosis.route_to(machine, "8.7.6.5") is None
    assert diagnosis.route_to(machine, "fd00::1") == Route("fd00::1", "", "")  # no `ip` to ask


def test_agents_that_can_be_called_are_the_last_of_their_zone(tmp_path: Path) -> None:
    """Three of them, the newest first, none whose last sign was a tunnel."""
    log = [
        Seen(f"2026-11-24T03:0{number}", "agent", source, zone, "platform", status)
        for number, (source, zone, status) in enumerate(
            [
                ("10.0.0.1", "default", 200),
                ("10.0.0.2", "default", 101),
                ("10.0.0.3", "other", 200),
                ("10.0.0.4", "default", 101),
                ("10.0.0.4", "default", 200),
                ("10.0.0.5", "default", 200),
                ("10.0.0.6", "default", 200),
            ]
        )
    ]
    made = case(tmp_path, log=log)
    zone = made.settings.zones[0]
    assert diagnose_network._recent(made, zone) == ["10.0.0.6", "10.0.0.5", "10.0.0.4"]
    empty = named(diagnose_network.agents(case(tmp_path)))["agents of default"]
    assert empty.verdict == "SKIP" and empty.remedy


# -- who arrives


class Told(Arrivals):
    """Arrivals that are told, not seen."""

    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__(2002)
        self._counts.update(counts)


def arrivals(made: Case, counts: dict[str, int] | None, wait_s: float = 60) -> dict[str, Outcome]:
    watched = None if counts is None else Told(counts)
    began = made.system.uptime()
    waited = lambda: made.system.uptime() - began  # noqa: E731
    return named(diagnose_arrivals.outcomes(made, watched, waited, wait_s))


def test_nothing_arrived(tmp_path: Path) -> None:
    found = arrivals(case(tmp_path), {})
    way = found["way from the platform"]
    assert way.verdict == "FAIL"
    assert way.detail == (
        "from 8.7.6.5, 8.7.7.0/28 to this node, port 2002/tcp: nothing arrived in 60 s"
    )
    zone = found["way from default"]
    assert zone.verdict == "SKIP"
    assert zone.detail == "from 10.0.0.0/8 to this node, port 2002/tcp: nothing arrived in 60 s"
    assert "--wait 360" in zone.remedy


def test_both_arrived_and_nobody_waited(tmp_path: Path) -> None:
    made = case(tmp_path)
    found = arrivals(made, {"8.7.7.3": 2, "10.4.5.6": 1})
    assert found["way from the platform"].verdict == "PASS"
    assert "8.7.7.3 (2 times)" in found["way from the platform"].detail
    assert found["way from default"].detail == "port 2002: 1 addresses arrived in 1 s"
    assert made.system.uptime() == 1000.0


def test_own_addresses_are_nobody(tmp_path: Path) -> None:
    """The self-test calls from here, and looks like an agent."""
    assert arrivals(case(tmp_path), {"10.1.2.3": 5})["way from default"].verdict == "SKIP"


def test_strangers_only_hint_at_a_nat(tmp_path: Path) -> None:
    way = arrivals(case(tmp_path), {"203.0.113.9": 7, "10.4.5.6": 1})["way from the platform"]
    assert way.verdict == "FAIL"
    assert "but 203.0.113.9 (7 times) arrived, who may not call" in way.detail
    assert "NAT" in way.remedy


def test_what_the_log_knows_needs_no_waiting(tmp_path: Path) -> None:
    agent = Seen("2026-11-24T03:01", "agent", "10.0.0.2", "default", "platform", 200)
    made = case(tmp_path, log=[_CALL, agent])
    found = arrivals(made, {})
    assert found["way from the platform"].detail == f"the platform called at {_CALL.time}"
    assert found["way from default"].verdict == "PASS"
    assert made.system.uptime() == 1000.0


def test_open_connections_are_a_way(tmp_path: Path) -> None:
    zone = {"name": "default", "problems": [], "connections": 12}
    found = arrivals(case(tmp_path, {**_STATUS, "zones": [zone]}), {}, 0)
    assert found["way from default"].detail == "12 connections are open"


def test_without_a_view_of_the_wire(tmp_path: Path) -> None:
    found = arrivals(case(tmp_path), None)
    assert {one.verdict for one in found.values()} == {"SKIP"}


def test_registration(tmp_path: Path) -> None:
    assert diagnose_arrivals.registration(case(tmp_path, log=[_CALL])).verdict == "PASS"
    refused = _CALL._replace(status=503)
    assert diagnose_arrivals.registration(case(tmp_path, log=[refused])).verdict == "FAIL"
    other = _CALL._replace(target="default/10.0.0.2:2003")
    assert diagnose_arrivals.registration(case(tmp_path, log=[other])).verdict == "PASS"
    assert diagnose_arrivals.registration(case(tmp_path)).verdict == "SKIP"
