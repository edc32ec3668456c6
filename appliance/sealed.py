"""A backup's outer form: encrypted under a passphrase, and unreadable or refused without it.

Values. Neighbours: `backup` says what is inside. The key is made of the passphrase by scrypt
(RFC 7914), the content is encrypted by AES-256-GCM (NIST SP 800-38D) with the head as additional
data, so that no byte of the file can be changed unnoticed. Salt and nonce are new each time.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

__all__ = ["PASSPHRASE_MIN", "Unreadable", "head_of", "seal", "unseal"]

PASSPHRASE_MIN: Final = 12
_FORMAT: Final = "agent-proxy backup 1"
# 64 MiB and a fifth of a second: dear for whoever tries passphrases, cheap once.
_COST, _BLOCK, _PARALLEL = 1 << 16, 8, 1
_COST_MAX: Final = 1 << 18
_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32


class Unreadable(ValueError):
    """This is no backup, or it is damaged, or the passphrase is another; the text says which."""


def seal(content: bytes, passphrase: str, about: dict[str, str]) -> bytes:
    """Return the file: one line of head that says what it is `about`, one of encrypted content."""
    head = {
        "format": _FORMAT,
        **about,
        "scrypt": {"n": _COST, "r": _BLOCK, "p": _PARALLEL},
        "salt": base64.b64encode(secrets.token_bytes(_SALT_BYTES)).decode(),
        "nonce": base64.b64encode(secrets.token_bytes(_NONCE_BYTES)).decode(),
    }
    line = json.dumps(head, sort_keys=True).encode()
    body = AESGCM(_key(head, passphrase)).encrypt(_bytes(head, "nonce"), content, line)
    return line + b"\n" + base64.b64encode(body) + b"\n"


def unseal(sealed: bytes, passphrase: str) -> bytes:
    """Return what was sealed. Raises: Unreadable."""
    line, _, body = sealed.partition(b"\n")
    head = head_of(sealed)
    try:
        nonce, encrypted = _bytes(head, "nonce"), base64.b64decode(body, validate=False)
        return AESGCM(_key(head, passphrase)).decrypt(nonce, encrypted, line)
    except InvalidTag:
        raise Unreadable("the passphrase is another, or the file was changed") from None
    except (ValueError, KeyError, TypeError):
        raise Unreadable("the file is damaged") from None


def head_of(sealed: bytes) -> dict[str, Any]:
    """Return the head, which needs no passphrase and proves nothing. Raises: Unreadable."""
    try:
        head = json.loads(sealed.partition(b"\n")[0])
    except ValueError:
        raise Unreadable("this is no backup of an agent proxy") from None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise Unreadable("this is no backup of an agent proxy, or one of another release")
    return head


def _key(head: dict[str, Any], passphrase: str) -> bytes:
    cost = head["scrypt"]
    n, r, p = int(cost["n"]), int(cost["r"]), int(cost["p"])
    # A file may not ask for more memory than this machine is known to have.
    if not 1 << 14 <= n <= _COST_MAX or (r, p) != (_BLOCK, _PARALLEL):
        raise ValueError("cost out of range")
    scrypt = Scrypt(salt=_bytes(head, "salt"), length=_KEY_BYTES, n=n, r=r, p=p)
    return scrypt.derive(passphrase.encode())


def _bytes(head: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(str(head[name]), validate=True)
