"""Server-side request forgery: forbidden addresses in every spelling, and nothing is dialled.

Whoever calls here is the platform and has a right seal for everything it names, and the zone is as
wide as it can be: only the rules about addresses stand between. A witness inside of the worker
(tests/fakes/witness) writes down every connect and every look-up of a name, so that a refusal is
more than a status.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.route import seal, seal_key
from tests.integration.conftest import Dial
from tests.integration.dialled import Dialled, witness
from tests.integration.nodes import PLATFORM, PROXY_ID, SECRET, Node, serving
from tests.integration.peers import Message, Origin

PORT = 2003
EVERYWHERE = "0.0.0.0/1, 128.0.0.0/1, ::/1, 8000::/1"
SETTINGS: dict[str, Any] = {
    "agents": {
        "networks": EVERYWHERE,
        "allow_loopback": "no",
        "ports": f"{PORT}, 2004",
        "deny": "10.66.0.0/16",
    },
    "peers": {},
    "[NEARER0001]": {
        "role": "nearer",
        "endpoint": "10.9.0.1:2002",
        "networks": "10.9.0.1/32",
        "certificate": "ab" * 32,
    },
}
FORBIDDEN = {
    "loopback": "127.0.0.1",
    "another loopback": "127.9.9.9",
    "unspecified": "0.0.0.0",
    "this network": "0.1.2.3",
    "metadata": "169.254.169.254",
    "link-local": "169.254.1.1",
    "Azure's wire server": "168.63.129.16",
    "Alibaba's metadata": "100.100.100.200",
    "Oracle's metadata": "192.0.0.192",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "the upstream": PLATFORM,
    "denied": "10.66.1.2",
}
FORBIDDEN_IPV6 = [
    *("::1", "::", "fe80::1", "febf::a9fe:a9fe", "ff02::1", "fd00:ec2::254", "fd00:ec2::253"),
    *("fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe", "::2"),
]


@pytest.fixture(scope="module")
def node(build: Callable[[Any], Node], agent: Origin) -> Iterator[Node]:
    node = build(SETTINGS)
    # Also those of its own listener and pages: only the address stands between.
    ports = f"{PORT}, 2004, {node.address[1]}, {node.admin[1]}"
    node.write(agents={"ports": ports})
    node.environment = witness(node)
    with serving(node):
        yield node


def seal_for(host: str, port: int) -> str:
    """Return a right seal, also for what no route can be minted for."""
    made = seal(seal_key(SECRET.encode()), PROXY_ID, "default", host, port)
    return f";seal=:{base64.b64encode(made).decode()}:"


def call(node: Node, dial: Dial, host: str, port: str = str(PORT)) -> Message:
    """Call an agent by a route whose host and port are written as given, rightly sealed."""
    number = int(port) if port.isascii() and port.isdigit() else PORT
    route = f'"{PROXY_ID}", agent;zone="default";host="{host}";port={port}{seal_for(host, number)}'
    wire = dial(node, PLATFORM)
    got = wire.ask(
        b"GET /latest/meta-data HTTP/1.1\r\nHost: a\r\nAgent-Route: ", route.encode(), b"\r\n\r\n"
    )
    wire.sock.close()
    return got


def spellings(address: str) -> list[tuple[str, int]]:
    """Return (spelling, status): 400 where no route can hold it, 403 where a rule says no."""
    number = int(ipaddress.IPv4Address(address))
    a, b, c, d = (int(part) for part in address.split("."))
    high, low = number >> 16, number & 0xFFFF
    swapped = number ^ 0xFFFFFFFF
    return [
        (address, 403),
        (f"{number}", 403),
        (f"0x{number:x}", 403),
        (f"0X{number:08X}", 403),
        (f"0{number:o}", 403),
        (f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", 403),
        (f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", 403),
        (f"{a:03}.{b:03}.{c:03}.{d:04}", 403),
        (f"{a}.{b}.{low}", 403),
        (f"{a}.{number & 0xFFFFFF}", 403),
        (f"0x{a:x}.{b}.0{low:o}", 403),
        (f"{address}.", 403),
        (f".{address}", 403),
        (f"{a}..{b}.{c}.{d}", 403),
        (f"::ffff:{high:x}:{low:x}", 403),
        (f"::ffff:{address}", 403),
        (f"::FFFF:{high:X}:{low:X}", 403),
        (f"0:0:0:0:0:ffff:{high:x}:{low:x}", 403),
        (f"::{high:x}:{low:x}" if high else f"::{low:x}", 403),
        (f"::{address}", 403),
        (f"::ffff:0:{high:x}:{low:x}", 403),
        (f"64:ff9b::{high:x}:{low:x}", 403),
        (f"64:ff9b::{address}", 403),
        (f"64:ff9b:1::{high:x}:{low:x}", 403),
        (f"2002:{high:x}:{low:x}::", 403),
        (f"2002:{high:x}:{low:x}::1", 403),
        (f"2001:0:{high:x}:{low:x}:0:1:ffff:ffff", 403),
        (f"2001::1:{swapped >> 16:x}:{swapped & 0xFFFF:x}", 403),
        (f"fd00::5efe:{high:x}:{low:x}", 403),
        (f"fd00::200:5efe:{high:x}:{low:x}", 403),
        (f"[{address}]", 400),
        (f"[::ffff:{address}]", 400),
        (f"{address}%25lo", 400),
        (f"{address}%lo", 400),
        (f"%31%32%37.{b}.{c}.{d}", 400),
        (f"{a}%2e{b}%2e{c}%2e{d}", 400),
        (f"{address}/", 400),
        (f"{address}#", 400),
        (f"{address}?", 400),
        (f"a@{address}", 400),
        (f"{address}@a", 400),
        (f" {address}", 400),
        (f"{address}\t", 400),
        (f"{address}:22", 403),
        (f"{address}:{PORT}", 403),
        ("".join(chr(ord(digit) + 0xFEE0) for digit in address), 400),  # full width
        (address.replace(".", "\u3002"), 400),
        ("".join(chr(0x660 + int(x)) if x.isdigit() else x for x in address), 400),
        (f"{a}.{b}.{c}.{chr(0x2460)}", 400),  # a one in a circle, which IDNA makes a one
    ]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_address_is_refused_in_every_spelling_and_never_dialled(
    node: Node, platform: Origin, dial: Dial, name: str
) -> None:
    dialled = Dialled(node, platform)
    wrong = []
    for spelled, status in spellings(FORBIDDEN[name]):
        got = call(node, dial, spelled)
        if got.status != status:
            wrong.append((spelled, got.status))
    assert not wrong
    assert dialled.others() == []


@pytest.mark.parametrize("address", FORBIDDEN_IPV6)
def test_forbidden_ipv6_address_is_refused_in_every_spelling(
    node: Node, platform: Origin, dial: Dial, address: str
) -> None:
    dialled = Dialled(node, platform)
    exploded = ipaddress.IPv6Address(address).exploded
    for spelled, status in (
        (address, 403),
        (exploded, 403),
        (exploded.upper(), 403),
        (f"{address}%25lo", 400),
        (f"{address}%1", 400),
        (f"[{address}]", 400),
        (f"[{address}]:22", 400),
        (f"{address}/128", 400),
    ):
        assert call(node, dial, spelled).status == status, spelled
    assert dialled.others() == []


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost.", "LOCALHOST", "localhost.localdomain", "ip6-localhost"),
        *("metadata.google.internal", "metadata", "instance-data", "kubernetes.default.svc"),
        *("127.0.0.1.nip.io", "agent.example.com", "a", "xn--nxasmq6b", "_dns", "-"),
        *("10.0.0", "10.0.0.1.example.com", "1e3", "0x", "::g", "fd00:::1", "1.2.3.4.5"),
    ],
)
def test_no_name_is_looked_up(node: Node, platform: Origin, dial: Dial, host: str) -> None:
    dialled = Dialled(node, platform)
    got = call(node, dial, host)
    assert (got.status, json.loads(got.body)["type"]) == (
        403,
        "urn:agent-proxy:destination_ip_prohibited",
    )
    assert dialled.others() == []


@pytest.mark.parametrize(
    ("port", "status"),
    [
        *(("22", 403), ("80", 403), ("443", 403), ("3302", 403), ("2002", 403), ("65535", 403)),
        *(("0", 400), ("65536", 400), ("99999", 400), ("100000", 400), ("+2003", 400)),
        *(("-2003", 400), ("02003", 400), ("2003.0", 400), ("0x7d3", 400), ("2_003", 400)),
        *(
            ('"2003"', 400),
            ("", 400),
            (" 2003", 400),
            ("2003 ", 400),
            ("2e3", 400),
            (":2003:", 400),
        ),
        *(("\u0662\u0660\u0660\u0663", 400), ("\uff12\uff10\uff10\uff13", 400), ("?1", 400)),
        *(("2003,2003", 400), ("2003;port=22", 400), ("(2003)", 400), ("2003\t", 400)),
    ],
)
def test_no_other_port_is_dialled(
    node: Node, platform: Origin, dial: Dial, port: str, status: int
) -> None:
    """The address is one that may be called; nobody has it, and nobody is asked."""
    dialled = Dialled(node, platform)
    assert call(node, dial, "10.77.0.9", port).status == status
    assert dialled.others() == []


def own_addresses() -> list[str]:
    """Return the addresses of this machine but for loopback, which may be none."""
    done = subprocess.run(["ip", "-j", "address"], capture_output=True, check=True)
    found = [one["local"] for link in json.loads(done.stdout) for one in link["addr_info"]]
    return [address for address in found if not ipaddress.ip_address(address).is_loopback]


@pytest.mark.skipif(not shutil.which("ip"), reason="iproute2 is not installed")
def test_the_proxy_itself_is_no_agent(node: Node, platform: Origin, dial: Dial) -> None:
    """Its own listener and its status pages, by every address of this machine."""
    dialled = Dialled(node, platform)
    for host in ("127.0.0.1", "::ffff:7f00:1", "127.0.0.2", "::1", *own_addresses()):
        for port in (node.address[1], node.admin[1]):
            got = call(node, dial, host, str(port))
            assert (got.status, b"2 forbidden" in got.body) == (403, True)
    assert dialled.others() == []


@pytest.mark.parametrize(
    "route",
    [
        '"{id}", "10.0.0.1", agent;zone="default";host="10.0.0.1";port=2003',
        '"{id}", "NEARER0002", agent;zone="default";host="10.0.0.1";port=2003',
        '"{id}", "127.0.0.1", agent;zone="default";host="10.0.0.1";port=2003',
        '"{id}", "localhost", agent;zone="default";host="10.0.0.1";port=2003',
        '"{id}", "nearer0001", agent;zone="default";host="10.0.0.1";port=2003',
        '"{id}", agent;zone="default";host="10.0.0.1";port=2003;via="127.0.0.1"',
        '"{id}", agent;zone="default";host="10.0.0.1";host="127.0.0.1";port=2003',
        '"{id}", agent;zone="default";host="10.0.0.1";port=2003;port=22',
        '"{id}", http://127.0.0.1/;zone="default";host="10.0.0.1";port=2003',
        '"{id}", agent;zone="default";host="10.0.0.1";port=2003, agent;host="127.0.0.1"',
    ],
)
def test_no_hop_that_is_not_configured_is_dialled(
    node: Node, platform: Origin, dial: Dial, route: str
) -> None:
    dialled = Dialled(node, platform)
    line = f"Agent-Route: {route.format(id=PROXY_ID)}\r\n".encode()
    got = dial(node, PLATFORM).ask(b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n")
    assert got.status == 400
    assert dialled.others() == []
