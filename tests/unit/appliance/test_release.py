"""A release is judged completely before anything in it is used."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from appliance import release
from appliance.errors import Refusal

_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
_OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
_FILES = {
    "wheels/agent_proxy-0.2.0-py3-none-any.whl": b"wheel",
    "requirements.txt": b"",
    "files/etc/systemd/system/getty@.service": b"unit",
    "conf/proxy.ini": b"ini",
}
_LINKS = {"files/etc/systemd/system/serial-getty@.service": "getty@.service"}


def public(key: Ed25519PrivateKey) -> bytes:
    kind = PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(Encoding.PEM, kind)


def packed(key: Ed25519PrivateKey = _KEY) -> bytes:
    return release.pack("0.2.0", _FILES, _LINKS, key)


def rebuilt(change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """Return the release with its members changed by somebody without the key."""
    with tarfile.open(fileobj=io.BytesIO(packed())) as tar:
        members = [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    change(members)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def test_what_was_packed_is_what_comes_out() -> None:
    found = release.judge(packed(), [public(_OTHER), b"no key", public(_KEY)])
    assert (found.version, found.files, found.links) == ("0.2.0", _FILES, _LINKS)


def test_the_same_content_makes_the_same_file() -> None:
    assert packed() == packed()


def refusal(content: bytes, keys: list[bytes] | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        release.judge(content, [public(_KEY)] if keys is None else keys)
    return str(caught.value)


def test_another_key_s_signature_is_refused() -> None:
    assert "is not signed by any key" in refusal(packed(_OTHER))


def test_without_keys_nothing_is_taken() -> None:
    assert "release-keys" in refusal(packed(), [])


def test_keys_of_another_kind_sign_nothing() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert "is not signed by any key" in refusal(packed(), [pem])


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.__setitem__(2, (m[2][0], b"changed")), "another conf/proxy.ini than"),
        (lambda m: m.pop(), "lacks wheels/"),
        (lambda m: m.append((member("conf/extra"), b"x")), "which its manifest does not name"),
        (lambda m: m.append(m[3]), "twice"),
        (lambda m: m.append((member("../../etc/passwd"), b"x")), "forbidden name"),
        (lambda m: m.append((member("/etc/passwd"), b"x")), "forbidden name"),
        (lambda m: m.append((member("files/../../x"), b"x")), "forbidden name"),
        (lambda m: m.append((member("conf/link", tarfile.SYMTYPE), b"")), "something else than"),
        (lambda m: m.append((member("conf/dev", tarfile.CHRTYPE), b"")), "something else than"),
        (lambda m: m.reverse(), "does not begin with a manifest"),
        (lambda m: m.__setitem__(1, (m[1][0], b"short")), "has no signature"),
        (lambda m: m.__setitem__(0, (m[0][0], m[0][1] + b" ")), "is not signed by any key"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(
    change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None], said: str
) -> None:
    assert said in refusal(rebuilt(change))


@pytest.mark.parametrize("content", [b"", b"x" * 2000, packed()[:700]])
def test_what_is_no_release_is_refused(content: bytes) -> None:
    assert refusal(content)


def test_every_bit_of_the_beginning_counts() -> None:
    """A tar's member begins after its head of 512 bytes: the first is the manifest."""
    content = packed()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        size = tar.getmember("manifest.json").size
    for place in range(512, 512 + size, 37):
        broken = bytearray(content)
        broken[place] ^= 4
        assert refusal(bytes(broken))


def signed(document: dict[str, object]) -> bytes:
    """Return a release whose manifest says something else, signed by the right key."""

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        manifest = json.dumps({**json.loads(members[0][1]), **document}).encode()
        members[0] = (members[0][0], manifest)
        members[1] = (members[1][0], _KEY.sign(manifest))

    return rebuilt(change)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"format": 2}, "has format 2; this version knows 1"),
        ({"version": "../0.2.0"}, "names no version"),
        ({"links": {"files/x": "/etc/passwd"}}, "leads elsewhere"),
        ({"links": {"../x": "y"}}, "leads elsewhere"),
        ({"links": {"files/x": ".."}}, "leads elsewhere"),
    ],
)
def test_even_a_signed_manifest_may_not_say_everything(
    document: dict[str, object], said: str
) -> None:
    assert said in refusal(signed(document))


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "LIMIT_BYTES", 1000)
    assert "is larger than" in refusal(packed())


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [
        ("0.2.0", "0.1.9", True),
        ("0.10.0", "0.9.9", True),
        ("0.1.0", "0.1.0", False),
        ("0.1.0", "0.2.0", False),
        ("1.0.0", "0.99.99", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, than: str, expected: bool) -> None:
    assert release.newer(version, than) is expected


@pytest.mark.parametrize(
    ("version", "files"),
    [("one", {}), ("0.2.0", {"etc/passwd": b""}), ("0.2.0", {"files/../x": b""})],
)
def test_what_could_not_be_installed_is_not_packed(version: str, files: dict[str, bytes]) -> None:
    with pytest.raises(Refusal):
        release.pack(version, files, {}, _KEY)


def test_a_key_that_signs_must_be_of_the_right_kind() -> None:
    pem = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert release.private_key(pem).sign(b"x") == _KEY.sign(b"x")
    other = ec.generate_private_key(ec.SECP256R1())
    for bad in (b"none", other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        with pytest.raises(Refusal):
            release.private_key(bad)
