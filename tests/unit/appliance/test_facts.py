"""Facts of recorded machines: what programs print becomes values, what is absent becomes None."""

from __future__ import annotations

import json
from pathlib import Path

from appliance import facts, readings
from appliance.places import CONF
from appliance.readings import Interface, Memory, Route, Worker
from appliance.system import Fetched
from proxy import certificates
from tests.unit.appliance.machines import Machine, recorded


def test_a_recorded_machine(tmp_path: Path) -> None:
    system = recorded(tmp_path)
    system.pages["/status"] = Fetched(200, json.dumps({"ready": True}).encode())
    certificate, _ = certificates.self_signed(["proxy.example.com"], 30)
    system.write("/opt/agent-proxy/var/tls/proxy.crt", certificate)
    found = facts.gather(system, CONF)
    assert [(one.name, one.state, one.kind) for one in found.interfaces] == [
        ("eth0", "up", ""),
        ("eth1", "down", ""),
        ("eth0.100", "no carrier", "vlan"),
    ]
    eth0 = found.interface("eth0")
    assert eth0 is not None
    assert eth0.addresses == ("10.1.2.3/24", "2001:db8:1::3/64")
    assert (eth0.dynamic, eth0.driver, eth0.mtu) == (("10.1.2.3/24",), "virtio_net", 1500)
    vlan = found.interface("eth0.100")
    assert vlan is not None and (vlan.parent, vlan.vlan) == ("eth0", 100)
    assert found.interface("eth7") is None
    assert found.routes == (
        Route("default", "10.1.2.1", "eth0"),
        Route("10.50.0.0/16", "10.9.0.1", "eth0.100"),
        Route("default", "2001:db8:1::1", "eth0"),
    )
    assert found.dns == ("10.1.2.53", "2001:db8:1::53")
    assert found.search == ("example.com", "corp.example.com")
    assert (found.timezone, found.synchronised) == ("Europe/Berlin", True)
    assert found.memory == Memory(4012345 * 1024, 3012345 * 1024)
    assert found.hostname == "node-1"
    assert found.system_name == "Debian GNU/Linux 13 (trixie)"
    assert found.workers == (
        Worker("agent-proxy:worker-0", "RUNNING", "pid 611, uptime 3 days, 1:02:03"),
        Worker("agent-proxy:worker-1", "STARTING", ""),
    )
    assert found.status == {"ready": True}
    assert found.settings is not None and found.settings.listen.port == 2002
    assert found.certificate is not None and found.certificate.names == ("proxy.example.com",)


def test_a_machine_of_which_nothing_is_known(tmp_path: Path) -> None:
    found = facts.gather(Machine(tmp_path), CONF)
    assert found.interfaces == found.routes == found.dns == found.workers == ()
    assert found.synchronised is found.memory is found.status is found.certificate is None
    assert found.settings is None
    assert found.problems == (f"{CONF} is not there",)


def test_a_wrong_proxy_ini_is_said(tmp_path: Path) -> None:
    system = Machine(tmp_path)
    system.write(CONF, b"[listen]\nprot = 1\n")
    found, problems = facts.configured(system, CONF)
    assert found is None
    assert "there is no such setting" in problems[0]
    system.write(CONF, b"\xff")
    assert facts.configured(system, CONF) == (None, (f"{CONF} is not UTF-8 text",))


def test_pages_that_are_none(tmp_path: Path) -> None:
    system = recorded(tmp_path)
    settings, _ = facts.configured(system, CONF)
    for page in (None, Fetched(503, b"{}"), Fetched(200, b"<html>"), Fetched(200, b"[]")):
        if page is not None:
            system.pages["/status"] = page
        assert facts.status(system, settings) is None


def test_texts_that_cannot_be_read_give_nothing() -> None:
    for text in ("", "{", "null", '"x"', "[1]"):
        assert readings.interfaces(text) == readings.routes(text) == ()
    assert readings.memory("MemTotal: many kB") is None
    assert readings.resolvers("\nnameserver\nsearch .\n#x") == ((), ())
    assert readings.properties('# A=1\nB="two words"\nC\n') == {"B": "two words"}


def test_an_interface_without_a_cable() -> None:
    text = json.dumps([{"ifname": "eth0", "flags": ["NO-CARRIER", "UP"], "addr_info": []}])
    assert readings.interfaces(text) == (Interface("eth0", "no carrier"),)
