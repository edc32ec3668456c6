"""PROXY protocol version 2: who is behind the balancer that connected to us.

Layer 0 (pure). Neighbours: `errors` below; `connection` feeds it the first bytes of a connection
from one of `[listen] balancers`, `policy` classifies the source address that comes out.

    12 bytes signature | version and command | family | length (2 bytes) | addresses | TLVs
    every TLV: type (1 byte), length (2 bytes), value; all numbers big-endian

PROXY  speaks for somebody: TCP over IPv4 or IPv6, always with both addresses. "Unknown" and UNIX
       sources may be rejected by the protocol's text and are: a caller without an address must
       not be judged by the balancer's.
LOCAL  the balancer speaks for itself, a health check; the rest of the header is ignored, as the
       protocol's text obliges. `source` is None then, and only then.

Not done: version 1 (text), UDP, the TLVs about TLS: what a balancer says of certificates is no
evidence here.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from typing import Final, Literal, NamedTuple, TypeAlias

from proxy.errors import BadProxyHeader

__all__ = ["MAX_BYTES", "Header", "netns", "network_id", "parse"]

Address: TypeAlias = tuple[str, int]
Tlvs: TypeAlias = tuple[tuple[int, bytes], ...]

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED_BYTES: Final = 16
_LENGTH_LIMIT: Final = 2048
MAX_BYTES: Final = _FIXED_BYTES + _LENGTH_LIMIT

_VERSION: Final = 2
_LOCAL, _PROXY = 0, 1
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES: Final = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}

_TLV_CRC32C, _TLV_NETNS = 0x03, 0x30
_TLV_GCP, _TLV_AWS, _TLV_AZURE = 0xE0, 0xEA, 0xEE
_NETWORK_TLVS: Final = (_TLV_AWS, _TLV_AZURE, _TLV_GCP)
_SUBTYPE_AWS_ENDPOINT: Final = b"\x01"
_SUBTYPE_AZURE_LINK: Final = b"\x01"

_NETNS_NAME: Final = re.compile(rb"[!-~]{1,255}")
_AWS_ENDPOINT: Final = re.compile(rb"[A-Za-z0-9-]{1,255}")


class Header(NamedTuple):
    """One PROXY header; what follows after `consumed` bytes is the caller's."""

    consumed: int
    command: Literal["PROXY", "LOCAL"]
    source: Address | None
    destination: Address | None
    tlvs: Tlvs
    """(type, value) in wire order."""


def parse(data: bytes) -> Header | None:
    """Return the header that `data` begins with, None when more bytes are needed.

    Asks for no more than MAX_BYTES; whatever cannot become a header is refused at the first byte
    that shows it.

    Raises: BadProxyHeader.
    """
    if data[:12] != _SIGNATURE[: len(data)]:
        raise BadProxyHeader(_not_a_header(data))
    if len(data) < _FIXED_BYTES:
        return None
    version, command = data[12] >> 4, data[12] & 0x0F
    length = int.from_bytes(data[14:16], "big")
    if version != _VERSION:
        raise BadProxyHeader(f"PROXY header of version {version}; only version 2 is understood")
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader(f"PROXY header with unknown command {command}")
    if length > _LENGTH_LIMIT:
        raise BadProxyHeader(f"PROXY header of 16 + {length} bytes; at most {MAX_BYTES} are read")
    if command == _PROXY:
        _check_family(data[13], length)
    consumed = _FIXED_BYTES + length
    if len(data) < consumed:
        return None
    if command == _LOCAL:
        return Header(consumed, "LOCAL", None, None, ())
    layout = _ADDRESSES[data[13]]
    source, destination, source_port, destination_port = layout.unpack_from(data, _FIXED_BYTES)
    tlvs = _tlvs(data[:consumed], _FIXED_BYTES + layout.size)
    return Header(
        consumed,
        "PROXY",
        (str(ipaddress.ip_address(source)), source_port),
        (str(ipaddress.ip_address(destination)), destination_port),
        tlvs,
    )


def _not_a_header(data: bytes) -> str:
    if data.startswith(b"PROXY"):
        return "PROXY header of version 1 from a balancer: let it send version 2 (send-proxy-v2)"
    return "no PROXY header from a balancer: let it send one, or remove it from [listen] balancers"


def _check_family(family: int, length: int) -> None:
    if family not in _ADDRESSES:
        raise BadProxyHeader(
            f"PROXY header with family 0x{family:02x}; only TCP over IPv4 or IPv6 is served"
        )
    needed = _ADDRESSES[family].size
    if length < needed:
        raise BadProxyHeader(f"PROXY header with {length} bytes for addresses that take {needed}")


def _tlvs(header: bytes, position: int) -> Tlvs:
    found: list[tuple[int, bytes]] = []
    crc_given = False
    while position < len(header):
        start = position + 3
        # Where even the length is cut off, the slice is short and `position` ends past the end.
        position = start + int.from_bytes(header[position + 1 : start], "big")
        if position > len(header):
            raise BadProxyHeader("PROXY header: a TLV reaches beyond the end of the header")
        kind, value = header[start - 3], header[start:position]
        if kind == _TLV_CRC32C:
            if crc_given:
                raise BadProxyHeader("PROXY header with two checksums")
            _check_crc(header, start, value)
            crc_given = True
        found.append((kind, value))
    return tuple(found)


def _check_crc(header: bytes, start: int, value: bytes) -> None:
    if len(value) != 4:
        raise BadProxyHeader(f"PROXY header with a checksum of {len(value)} bytes instead of 4")
    # The sender counts the checksum's own four bytes as zero.
    zeroed = header[:start] + bytes(4) + header[start + 4 :]
    if _crc32c(zeroed) != int.from_bytes(value, "big"):
        raise BadProxyHeader("PROXY header with a wrong checksum: damaged on its way")


def netns(header: Header) -> str | None:
    """Return the name of the network namespace the balancer accepted in, None when not told.

    Raises: BadProxyHeader when it is told twice or is not printable ASCII.
    """
    value = _only(header, (_TLV_NETNS,))
    if value is None:
        return None
    if _NETNS_NAME.fullmatch(value[1]) is None:
        raise BadProxyHeader("PROXY header: the name of the network namespace is not printable")
    return value[1].decode("ascii")


def network_id(header: Header) -> str | None:
    """Return which private network of a cloud the caller came through, None when not told.

    `aws:vpce-0123…` (VPC endpoint), `azure:4711` (private endpoint's LINKID) or `gcp:4711`
    (Private Service Connect connection); the word in front keeps equal numbers apart.

    Raises: BadProxyHeader when it is told twice or has the wrong form.
    """
    tlv = _only(header, _NETWORK_TLVS)
    if tlv is None:
        return None
    kind, value = tlv
    if kind == _TLV_AWS:
        return _aws(value)
    if kind == _TLV_AZURE:
        return _azure(value)
    if len(value) != 8:
        raise BadProxyHeader(f"PROXY header: Google's connection ID has {len(value)} bytes, not 8")
    return f"gcp:{int.from_bytes(value, 'big')}"


def _aws(value: bytes) -> str | None:
    if value[:1] != _SUBTYPE_AWS_ENDPOINT:
        return None  # AWS may say other things under this type; they name no network
    if _AWS_ENDPOINT.fullmatch(value[1:]) is None:
        raise BadProxyHeader("PROXY header: the AWS endpoint ID has letters that none has")
    return f"aws:{value[1:].decode('ascii')}"


def _azure(value: bytes) -> str | None:
    if value[:1] != _SUBTYPE_AZURE_LINK:
        return None
    if len(value) != 5:
        raise BadProxyHeader(f"PROXY header: Azure's LINKID has {len(value) - 1} bytes, not 4")
    # The one little-endian number of the whole protocol; so Azure documents it.
    return f"azure:{int.from_bytes(value[1:], 'little')}"


def _only(header: Header, kinds: tuple[int, ...]) -> tuple[int, bytes] | None:
    found = [tlv for tlv in header.tlvs if tlv[0] in kinds]
    if len(found) > 1:
        raise BadProxyHeader("PROXY header names the caller's network twice")
    return found[0] if found else None


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C_TABLE: Final = _crc32c_table()


def _crc32c(data: bytes) -> int:
    # RFC 3720 appendix B.4; the standard library knows the other polynomial only.
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
