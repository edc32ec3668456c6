"""PROXY protocol v2: the corpus replayed whole, byte by byte and with bytes behind it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy import proxyproto
from proxy.errors import BadProxyHeader
from proxy.proxyproto import Header

CORPUS = Path(__file__).parents[1] / "corpus" / "proxyproto"

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4 = b"\x0a\x00\x00\x02\x0a\x01\x02\x03\x9c\x40\x07\xd2"
HEALTH_CHECK = SIGNATURE + b"\x20\x00\x00\x00"


# The corpus: the first line says what is expected, the rest is the header in hexadecimal.


def _corpus(kind: str) -> list[Path]:
    files = sorted((CORPUS / kind).glob("*.hex"))
    assert files, f"no corpus in {CORPUS / kind}"
    return files


def _expectation_and_bytes(file: Path) -> tuple[str, bytes]:
    first, _, rest = file.read_text().partition("\n")
    return first.removeprefix("# "), bytes.fromhex(rest)


def _shown(header: Header) -> str:
    words = [header.command]
    for address in (header.source, header.destination):
        words += [] if address is None else [address[0], str(address[1])]
    for name, value in (
        ("netns", proxyproto.netns(header)),
        ("network", proxyproto.network_id(header)),
    ):
        words += [] if value is None else [f"{name}={value}"]
    return " ".join(words)


@pytest.mark.parametrize("file", _corpus("valid"), ids=lambda file: file.stem)
def test_valid_header_of_the_corpus(file: Path) -> None:
    """`# COMMAND source port destination port [netns=…] [network=…]`."""
    expected, wire = _expectation_and_bytes(file)
    header = proxyproto.parse(wire)
    assert header is not None
    assert _shown(header) == expected
    assert header.consumed == len(wire)
    assert proxyproto.parse(wire + b"\x16\x03\x01 hello") == header
    assert [proxyproto.parse(wire[:end]) for end in range(len(wire))] == [None] * len(wire)


@pytest.mark.parametrize("file", _corpus("invalid"), ids=lambda file: file.stem)
def test_invalid_header_of_the_corpus(file: Path) -> None:
    """`# 400 part of the reason`."""
    expectation, wire = _expectation_and_bytes(file)
    status, _, reason = expectation.partition(" ")
    with pytest.raises(BadProxyHeader) as caught:
        proxyproto.parse(wire)
    assert caught.value.status == int(status)
    assert reason in caught.value.detail
    # More bytes never mend it, and no part of it is taken for a header.
    with pytest.raises(BadProxyHeader):
        proxyproto.parse(wire + bytes(3000))
    for end in range(len(wire)):
        try:
            assert proxyproto.parse(wire[:end]) is None
        except BadProxyHeader:
            break


# When a refusal comes: as soon as the bytes show it, so that nobody is waited for in vain.


@pytest.mark.parametrize(
    "beginning",
    [
        b"\x16",
        b"P",
        b"\r\n\r\n\x00\r\nQUIT\x00",
        SIGNATURE + b"\x11\x11\x00\x0c",
        SIGNATURE + b"\x22\x11\x00\x0c",
        SIGNATURE + b"\x21\x00\x00\x00",
        SIGNATURE + b"\x21\x31\x00\xd8",
        SIGNATURE + b"\x21\x11\x00\x0b",
        SIGNATURE + b"\x21\x11\x08\x01",
        SIGNATURE + b"\x20\x00\xff\xff",
    ],
)
def test_refused_at_the_first_byte_that_shows_it(beginning: bytes) -> None:
    assert proxyproto.parse(beginning[:-1]) is None
    with pytest.raises(BadProxyHeader):
        proxyproto.parse(beginning)


def test_nothing_read_yet_needs_more() -> None:
    assert proxyproto.parse(b"") is None


def test_the_callers_bytes_are_not_consumed() -> None:
    assert proxyproto.parse(HEALTH_CHECK + HEALTH_CHECK) == Header(16, "LOCAL", None, None, ())


def test_tlvs_are_kept_in_order_with_duplicates() -> None:
    tlvs = b"\xe5\x00\x02ab" + b"\x04\x00\x00" + b"\xe5\x00\x01c"
    header = proxyproto.parse(SIGNATURE + b"\x21\x11\x00\x18" + TCP4 + tlvs)
    assert header == Header(
        40,
        "PROXY",
        ("10.0.0.2", 40000),
        ("10.1.2.3", 2002),
        ((0xE5, b"ab"), (0x04, b""), (0xE5, b"c")),
    )


# What the TLVs say of the caller's network.


def _with(*tlvs: tuple[int, bytes]) -> Header:
    return Header(16, "PROXY", ("10.0.0.2", 40000), ("10.1.2.3", 2002), tlvs)


@pytest.mark.parametrize(
    ("tlvs", "expected"),
    [
        ([], None),
        ([(0x02, b"example.com")], None),
        ([(0x30, b"blue")], "blue"),
        ([(0x04, b""), (0x30, b"/run/netns/blue")], "/run/netns/blue"),
    ],
)
def test_netns(tlvs: list[tuple[int, bytes]], expected: str | None) -> None:
    assert proxyproto.netns(_with(*tlvs)) == expected


@pytest.mark.parametrize(
    "tlvs",
    [
        [(0x30, b"")],
        [(0x30, b"two words")],
        [(0x30, b"line\n")],
        [(0x30, b"nul\x00")],
        [(0x30, "blå".encode())],
        [(0x30, b"a" * 256)],
        [(0x30, b"blue"), (0x30, b"green")],
        [(0x30, b"blue"), (0x30, b"blue")],
    ],
)
def test_netns_is_refused_when_it_is_no_name_or_told_twice(tlvs: list[tuple[int, bytes]]) -> None:
    with pytest.raises(BadProxyHeader):
        proxyproto.netns(_with(*tlvs))


@pytest.mark.parametrize(
    ("tlvs", "expected"),
    [
        ([], None),
        ([(0x30, b"blue")], None),
        ([(0xEA, b"\x01vpce-0a1B")], "aws:vpce-0a1B"),
        ([(0xEA, b"\x02whatever it is")], None),
        ([(0xEA, b"")], None),
        ([(0xEE, b"\x01\x01\x02\x00\x04")], "azure:67109377"),
        ([(0xEE, b"\x02\x01")], None),
        ([(0xEE, b"")], None),
        ([(0xE0, b"\x00\x00\x00\x00\x00\x00\x01\x02")], "gcp:258"),
    ],
)
def test_network_id(tlvs: list[tuple[int, bytes]], expected: str | None) -> None:
    assert proxyproto.network_id(_with(*tlvs)) == expected


@pytest.mark.parametrize(
    "tlvs",
    [
        [(0xEA, b"\x01")],
        [(0xEA, b"\x01vpce 0a1b")],
        [(0xEA, b"\x01vpce-0a1b\n")],
        [(0xEA, b"\x01" + b"a" * 256)],
        [(0xEE, b"\x01\x01\x02\x03")],
        [(0xEE, b"\x01\x01\x02\x03\x04\x05")],
        [(0xE0, b"")],
        [(0xE0, b"\x00\x00\x01\x02")],
        [(0xE0, bytes(8)), (0xE0, bytes(8))],
        [(0xEA, b"\x01vpce-0a1b"), (0xE0, bytes(8))],
    ],
)
def test_network_id_is_refused_when_malformed_or_told_twice(
    tlvs: list[tuple[int, bytes]],
) -> None:
    with pytest.raises(BadProxyHeader):
        proxyproto.network_id(_with(*tlvs))


# Properties. `_wire` is the sender's side, written from the protocol's text.


def _crc32c(octets: bytes) -> int:
    crc = 0xFFFFFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def test_the_sum_used_below_is_crc32c() -> None:
    """The check value of the CRC catalogues."""
    assert _crc32c(b"123456789") == 0xE3069283


Ends = (
    tuple[ipaddress.IPv4Address, ipaddress.IPv4Address]
    | tuple[ipaddress.IPv6Address, ipaddress.IPv6Address]
)


def _wire(ends: Ends, ports: tuple[int, int], tlvs: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(address.packed for address in ends)
    body += b"".join(port.to_bytes(2, "big") for port in ports)
    for kind, value in tlvs:
        body += bytes([kind]) + len(value).to_bytes(2, "big") + value
    family = b"\x11" if ends[0].version == 4 else b"\x21"
    unsummed = SIGNATURE + b"\x21" + family + (len(body) + 7).to_bytes(2, "big") + body
    unsummed += b"\x03\x00\x04\x00\x00\x00\x00"
    return unsummed[:-4] + _crc32c(unsummed).to_bytes(4, "big")


V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)
ENDS = st.tuples(V4, V4) | st.tuples(V6, V6)
PORT = st.integers(0, 65535)
PORTS = st.tuples(PORT, PORT)
TLVS = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind != 0x03), st.binary(max_size=40)),
    max_size=5,
)


@given(ENDS, PORTS, TLVS, st.binary(max_size=10))
def test_what_a_balancer_wrote_is_read(
    ends: Ends, ports: tuple[int, int], tlvs: list[tuple[int, bytes]], rest: bytes
) -> None:
    wire = _wire(ends, ports, tlvs)
    header = proxyproto.parse(wire + rest)
    assert header is not None
    assert header.consumed == len(wire)
    assert header.source == (str(ends[0]), ports[0])
    assert header.destination == (str(ends[1]), ports[1])
    assert list(header.tlvs[:-1]) == tlvs
    assert all(proxyproto.parse(wire[:end]) is None for end in range(len(wire)))


@given(ENDS, PORTS, TLVS, st.data())
def test_one_changed_byte_is_never_read_as_another_caller(
    ends: Ends, ports: tuple[int, int], tlvs: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """The checksum finds every change of an address, a port or a TLV's value."""
    wire = bytearray(_wire(ends, ports, tlvs))
    at = data.draw(st.integers(16, len(wire) - 8), label="position")
    wire[at] ^= data.draw(st.integers(1, 255), label="change")
    # In a TLV's head a change can hide the checksum itself: no claim there.
    assume(at not in _places_of_tlv_heads(ends, tlvs))
    with pytest.raises(BadProxyHeader):
        proxyproto.parse(bytes(wire))


def _places_of_tlv_heads(ends: Ends, tlvs: list[tuple[int, bytes]]) -> set[int]:
    places: set[int] = set()
    position = 16 + 2 * len(ends[0].packed) + 4
    for _, value in tlvs:
        places.update(range(position, position + 3))
        position += 3 + len(value)
    return places


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_read_or_refused_and_nothing_else(block: bytes, any_bytes: bytes) -> None:
    for wire in (any_bytes, SIGNATURE + any_bytes, SIGNATURE + b"\x21\x11\x00\x20" + block):
        try:
            header = proxyproto.parse(wire)
            if header is not None:
                proxyproto.netns(header)
                proxyproto.network_id(header)
        except BadProxyHeader:
            continue
        assert header is None or (header.source is None) is (header.command == "LOCAL")
