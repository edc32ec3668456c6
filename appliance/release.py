"""A release as one signed file: made by `make release`, judged before anything in it is used.

Values and cryptography; the bytes of the file come from the caller. Neighbours: `upgrade` unpacks
what was judged here, `release_build` makes files.

    agent-proxy-VERSION.release   an uncompressed tar, in this order
        manifest.json             format, version, the version it can be installed over, and for
                                  every other file its size and SHA-256
        manifest.sig              64 bytes: Ed25519 over the bytes of manifest.json
        wheels/*.whl              for each Python it can be installed with
        requirements.txt          what is installed, with hashes
        files/..., conf/...       units and drop-ins; supervisord.conf, proxy.ini

Nothing but the signature's own two files is looked at before the signature is right. After that
every member must be in the manifest, with its size and sum, and be an ordinary file under one of
the folders above: no links, devices, absolute paths or "..", nothing twice, nothing missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from appliance.errors import Refusal

__all__ = ["LIMIT_BYTES", "Release", "judge", "newer", "pack", "private_key"]

FORMAT: Final = 1
LIMIT_BYTES: Final = 256 << 20
_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig"
_MANIFEST_LIMIT_BYTES: Final = 1 << 20
_SIGNATURE_BYTES: Final = 64
_VERSION: Final = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
_NAME: Final = re.compile(r"(?:wheels|files|conf)(?:/[A-Za-z0-9@._+-]+)+|requirements\.txt")
_PROGRAM_MODE: Final = 0o755


@dataclass(frozen=True, slots=True)
class Release:
    """A release whose signature, sums and names are right. `links` are symbolic, by their name."""

    version: str
    files: Mapping[str, bytes]
    links: Mapping[str, str]


def judge(content: bytes, keys: Sequence[bytes]) -> Release:
    """Return the release in a file. `keys` are public keys, PEM, any of which may have signed it.

    Raises: Refusal, saying what is wrong; nothing of the file has been used then.
    """
    if len(content) > LIMIT_BYTES:
        _refuse(f"is larger than {LIMIT_BYTES >> 20} MiB")
    members = _members(content)
    manifest, signature = members.pop(_MANIFEST, b""), members.pop(_SIGNATURE, b"")
    _verify(manifest, signature, keys)
    document = _document(manifest)
    listed: dict[str, Any] = document["files"]  # Any: {"size", "sha256"}
    for name in sorted({*listed, *members}):
        if name not in listed:
            _refuse(f"has {name}, which its manifest does not name")
        if name not in members:
            _refuse(f"lacks {name}")
        found = members[name]
        if listed[name] != {"size": len(found), "sha256": hashlib.sha256(found).hexdigest()}:
            _refuse(f"has another {name} than its manifest says")
    return Release(document["version"], members, _links(document))


def newer(version: str, than: str) -> bool:
    """Whether one version is above the other."""
    return _numbers(version) > _numbers(than)


def pack(
    version: str, files: Mapping[str, bytes], links: Mapping[str, str], key: Ed25519PrivateKey
) -> bytes:
    """Return a signed release, the same bytes for the same content. Raises: Refusal."""
    if _VERSION.fullmatch(version) is None:
        raise Refusal(f"{version!r} is no version: give three numbers such as 1.2.3")
    for name in (*files, *links):
        if _NAME.fullmatch(name) is None or ".." in name.split("/"):
            raise Refusal(f"{name!r} cannot be in a release")
    sums = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
    }
    document = {"format": FORMAT, "version": version, "files": sums, "links": dict(links)}
    manifest = json.dumps(document, indent=1, sort_keys=True).encode()
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        ordered = [(_MANIFEST, manifest), (_SIGNATURE, key.sign(manifest)), *sorted(files.items())]
        for name, content in ordered:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def private_key(pem: bytes) -> Ed25519PrivateKey:
    """Return the key that signs. Raises: Refusal."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise Refusal(f"this is no private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Refusal("releases are signed with Ed25519: openssl genpkey -algorithm ed25519")
    return key


def _members(content: bytes) -> dict[str, bytes]:
    """Return every member's bytes. The two first are the manifest and its signature."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for number, member in enumerate(tar):
                name = member.name
                expected = (_MANIFEST, _SIGNATURE)[number] if number < 2 else ""
                if expected and name != expected:
                    _refuse("does not begin with a manifest and its signature")
                if not expected and (_NAME.fullmatch(name) is None or ".." in name.split("/")):
                    _refuse(f"has a member with a forbidden name: {name[:80]!r}")
                if not member.isreg() or name in found:
                    _refuse(f"has {name[:80]!r} twice, or as something else than a file")
                file = tar.extractfile(member)
                assert file is not None, "it is a regular file"
                found[name] = file.read()
    except tarfile.TarError as error:
        raise Refusal(f"the file is no release: {error}") from error
    return found


def _verify(manifest: bytes, signature: bytes, keys: Sequence[bytes]) -> None:
    if not keys:
        raise Refusal(
            "there is no key to check releases with: put the publisher's into "
            "/etc/agent-proxy/release-keys/NAME.pub"
        )
    if len(signature) != _SIGNATURE_BYTES or not 0 < len(manifest) <= _MANIFEST_LIMIT_BYTES:
        _refuse("has no signature")
    for pem in keys:
        try:
            key = load_pem_public_key(pem)
        except ValueError:
            continue  # a damaged key signs nothing
        if not isinstance(key, Ed25519PublicKey):
            continue
        try:
            key.verify(signature, manifest)
            return
        except InvalidSignature:
            continue
    _refuse("is not signed by any key of /etc/agent-proxy/release-keys")


def _document(manifest: bytes) -> dict[str, Any]:
    """Return the manifest, which somebody we trust has signed. Raises: Refusal."""
    document: dict[str, Any] = json.loads(manifest)
    if document.get("format") != FORMAT:
        _refuse(
            f"has format {document.get('format')!r}; this version knows {FORMAT}. "
            "Upgrade to a version in between first"
        )
    if _VERSION.fullmatch(str(document.get("version"))) is None:
        _refuse("names no version")
    return document


def _links(document: Mapping[str, Any]) -> dict[str, str]:
    links: dict[str, str] = document["links"]
    for name, target in links.items():
        if _NAME.fullmatch(name) is None or "/" in target or target in (".", ".."):
            _refuse(f"has a link that leads elsewhere: {name[:80]!r}")
    return links


def _numbers(version: str) -> tuple[int, ...]:
    if _VERSION.fullmatch(version) is None:
        raise Refusal(f"{version!r} is no version that can be compared")
    return tuple(int(part) for part in version.split("."))


def _refuse(text: str) -> NoReturn:
    raise Refusal(f"the file {text}. Nothing was changed")
