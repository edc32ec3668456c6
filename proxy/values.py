"""What the text of a setting means: text to value, value to text, for each kind there is.

Layer 0 (pure). Neighbours: `declaration` below, `gathering` and `settings` above.
A reader raises ValueError with what is wrong; the remedy is the declaration's range. The text of
a secret never enters a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias, cast

from proxy.declaration import SECRET_MINIMUM, Declaration, Kind
from proxy.shapes import Endpoint, Network

__all__ = ["Value", "as_text", "from_text"]

Value: TypeAlias = (
    bool
    | int
    | float
    | str
    | bytes
    | Endpoint
    | None
    | tuple[str, ...]
    | tuple[int, ...]
    | tuple[Endpoint, ...]
    | tuple[Network, ...]
)

_MASK: Final = "********"
_FLAGS: Final = {word: True for word in ("yes", "true", "on", "1")} | {
    word: False for word in ("no", "false", "off", "0")
}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,14}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")


def from_text(text: str, declaration: Declaration) -> Value:
    """Return what `text` means for this setting. Empty text is the kind's "not set".

    Raises ValueError, with what is wrong with it.
    """
    return _READERS[declaration.kind](text.strip(), declaration)


def as_text(value: Value, declaration: Declaration) -> str:
    """Return the value as `from_text` would read it back; a secret as a mask."""
    if declaration.is_secret:
        return _MASK if value else ""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:f}".rstrip("0").rstrip(".")
    if isinstance(value, tuple) and not isinstance(value, Endpoint):
        return ", ".join(str(one) for one in value)
    return str(value)


def _items(text: str) -> list[str]:
    items = [one.strip() for one in text.split(",")] if text else []
    if "" in items:
        raise ValueError("there is a comma with nothing beside it")
    if len(set(items)) != len(items):
        raise ValueError("the same item is given twice")
    return items


def _flag(text: str, declaration: Declaration) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError("this is neither yes nor no")
    return _FLAGS[text.lower()]


def _choice(text: str, declaration: Declaration) -> str:
    if text not in declaration.choices:
        raise ValueError("this is not one of the words that are known here")
    return text


def _bounded(number: float, declaration: Declaration) -> None:
    if number < declaration.low:
        raise ValueError("this is too small")
    if number > declaration.high:
        raise ValueError("this is too large")


def _integer(text: str, declaration: Declaration) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("this is not a whole number; units are not written")
    _bounded(int(text), declaration)
    return int(text)


def _seconds(text: str, declaration: Declaration) -> float:
    if not _DECIMAL.fullmatch(text):
        raise ValueError("this is not a number of seconds; units are not written")
    _bounded(float(text), declaration)
    return float(text)


def _port(text: str) -> int:
    if not _NUMBER.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"the port {text!r} is not a number from 1 to 65535")
    return int(text)


def _ports(text: str, declaration: Declaration) -> tuple[int, ...]:
    ports = tuple(_port(one) for one in _items(text))
    if not ports:
        raise ValueError("at least one port is needed")
    return ports


def _address(text: str, declaration: Declaration) -> str:
    try:
        return _literal(text) if text else ""
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def _literal(text: str) -> str:
    if "%" in text:  # a scope index means something on one machine only
        raise ValueError("there is a scope index")
    return str(ip_address(text))


def _addresses(text: str, declaration: Declaration) -> tuple[str, ...]:
    return tuple(_address(one, declaration) for one in _items(text))


def _networks(text: str, declaration: Declaration) -> tuple[Network, ...]:
    return tuple(_network(one) for one in _items(text))


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an address or a network") from None
    raise ValueError(f"{text!r} has bits behind the prefix; the network is {whole}")


def _host(text: str) -> str:
    """A DNS name or an address, without brackets; as given, but canonical if an address."""
    try:
        return _literal(text)
    except ValueError:
        pass
    labels = text.removesuffix(".").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is neither a host name nor an address")
    if labels[-1].isdigit():
        raise ValueError(f"{text!r} looks like an address, but is none")
    return text


def _name(text: str, declaration: Declaration) -> str:
    return _host(text) if text else ""


def _one_endpoint(text: str) -> Endpoint:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host:
        raise ValueError(f"{text!r} has no port")
    if (":" in host) != bracketed:
        raise ValueError(f"{text!r}: an IPv6 address, and nothing else, stands in brackets")
    return Endpoint(_host(host.strip("[]")), _port(port))


def _endpoint(text: str, declaration: Declaration) -> Endpoint | None:
    return _one_endpoint(text) if text else None


def _endpoints(text: str, declaration: Declaration) -> tuple[Endpoint, ...]:
    return tuple(_one_endpoint(one) for one in _items(text))


def _url(text: str, declaration: Declaration) -> str:
    if not text:
        return ""
    if "@" in text:
        raise ValueError("there are credentials in the address; they have settings of their own")
    scheme, separator, rest = text.rstrip("/").partition("://")
    if not separator or scheme.lower() != "http":
        raise ValueError("this does not start with http://")
    return f"http://{_one_endpoint(rest)}"


def _matching(pattern: re.Pattern[str], wrong: str) -> Callable[[str, Declaration], str]:
    def read(text: str, declaration: Declaration) -> str:
        if text and not pattern.fullmatch(text):
            raise ValueError(wrong)
        return text

    return read


def _fingerprint(text: str, declaration: Declaration) -> str:
    digits = text.replace(":", "").lower()
    if digits and not re.fullmatch("[0-9a-f]{64}", digits):
        raise ValueError("this is not a SHA-256 in hexadecimal digits")
    return digits


def _secret(text: str, declaration: Declaration) -> bytes:
    _text(text, declaration)
    if text and len(text) < SECRET_MINIMUM:
        raise ValueError(f"the secret is shorter than {SECRET_MINIMUM} characters")
    return text.encode()


def _text(text: str, declaration: Declaration) -> str:
    if text and not text.isprintable():
        raise ValueError("there are characters in it that cannot be printed")
    if declaration.high and len(text) > declaration.high:
        raise ValueError("this is too long")
    return text


_READERS: Final[dict[Kind, Callable[[str, Declaration], Value]]] = {
    "address": _address,
    "addresses": _addresses,
    "choice": _choice,
    "endpoint": _endpoint,
    "endpoints": _endpoints,
    "fingerprint": _fingerprint,
    "flag": _flag,
    "id": _matching(_ID, "this cannot be a proxy ID"),
    "integer": _integer,
    "interface": _matching(_INTERFACE, "this cannot be the name of an interface"),
    "name": _name,
    "networks": cast(Callable[[str, Declaration], Value], _networks),
    "password": _text,
    "path": _text,
    "ports": _ports,
    "seconds": _seconds,
    "secret": _secret,
    "text": _text,
    "url": _url,
}
