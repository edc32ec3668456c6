"""Takes secrets out of text that others wrote: the second line of defence of a support bundle.

Values. Neighbour: `bundle`, whose first line of defence is that it takes only what is on its list.
Known secrets are taken out wherever they stand, also in hexadecimal and base64; what merely looks
like one (a private key, an Authorization field, password=...) goes by its shape.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["MASK", "forms", "scrubbed"]

MASK: Final = "********"
_SHORTEST: Final = 6  # shorter ones would take parts of words out
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_FIELD: Final = re.compile(
    r"(?i)((?:proxy-)?authorization|(?:set-)?cookie|handshake)(\"?\s*[:=]\s*).+"
)
_NAMED: Final = re.compile(
    r"(?i)([a-z_-]*(?:token|password|passphrase|secret)|api[_-]?key)"
    r"(\"?\s*[:=]\s*|\s+is\s+)(\"[^\"]*\"|\S+)"
)
_QUERY: Final = re.compile(r"\?[^\s\"'<>]+")
_USER_PART: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s@]+@")


def forms(secret: str) -> list[str]:
    """Return the ways a secret may be written."""
    if len(secret) < _SHORTEST:
        return []
    plain = secret.encode()
    encoded = base64.b64encode(plain).decode().rstrip("=")
    return [secret, plain.hex(), encoded, encoded.replace("+", "-").replace("/", "_")]


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, and without what looks like one."""
    for form in sorted({one for secret in secrets for one in forms(secret)}, key=len, reverse=True):
        text = re.sub(re.escape(form), MASK, text, flags=re.IGNORECASE)
    text = _KEY_BLOCK.sub(MASK, text)
    text = _USER_PART.sub(rf"\1{MASK}@", text)
    text = _QUERY.sub(f"?{MASK}", text)
    text = _FIELD.sub(rf"\1\2{MASK}", text)
    return _NAMED.sub(rf"\1\2{MASK}", text)
