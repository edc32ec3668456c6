"""Certificates of the node: made, requested, checked, installed, described.

Shell. Neighbours: `chain`, `errors` below; `cli` and `check` above. Never imported by the worker,
which would pay for `cryptography` in memory; `tls` reads the little that the worker needs.

Keys are EC P-256: an RSA-2048 handshake costs 210 us more (STACK.md). An install is checked as a
whole before the first byte is written, and a half-done one is taken back.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxy import chain
from proxy.errors import ConfigurationProblems

__all__ = ["CertificateFacts", "facts", "install", "request", "self_signed", "write"]

_COMMON_NAME_MAX: Final = 64  # RFC 5280 appendix A: ub-common-name
_BACKDATED: Final = datetime.timedelta(hours=1)  # clocks of VMs run behind
# In a chain a proxy shows the same certificate when it calls another one.
_EXTENDED_USAGE: Final = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What an operator asks of a certificate. `sha256` is of the DER form, hexadecimal."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime
    days_left: int
    """Whole days; negative once it has expired."""
    sha256: str
    key_kind: str


def self_signed(names: list[str], days: int, *, rsa_key: bool = False) -> tuple[bytes, bytes]:
    """Return a new certificate for `names` (host names or addresses) and its key, both PEM.

    EC P-256; with `rsa_key` RSA of 2048 bits, the only kind that Java 6 agents know, at 210 us
    more a handshake.

    Raises: ValueError without a name, with one that is neither, or with `days` below 1.
    """
    alternative_names = _alternative_names(names)
    if days < 1:
        raise ValueError(f"{days} days: a certificate is valid for at least one day")
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if rsa_key:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(names)
    now = datetime.datetime.now(datetime.UTC)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(alternative_names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_server_usage(key_encipherment=rsa_key), critical=True)
        .add_extension(_EXTENDED_USAGE, critical=False)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def request(names: list[str]) -> tuple[bytes, bytes]:
    """Return a certificate signing request for `names` and its new key, both PEM.

    Raises: ValueError without a name, or with one that is neither a host name nor an address.
    """
    alternative_names = _alternative_names(names)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_subject(names))
        .add_extension(alternative_names, critical=False)
        .add_extension(_server_usage(), critical=True)
        .add_extension(_EXTENDED_USAGE, critical=False)
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM), _key_pem(key)


def facts(pem: bytes) -> CertificateFacts:
    """Return the facts of the first certificate in `pem`. Raises: ValueError if there is none."""
    leaf = chain.certificates(pem)[0]
    now = datetime.datetime.now(datetime.UTC)
    return CertificateFacts(
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        names=chain.names(leaf),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        days_left=(leaf.not_valid_after_utc - now).days,
        sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        key_kind=chain.kind(leaf.public_key()),
    )


def install(
    chain_pem: bytes, key_pem: bytes, certificate_path: str, key_path: str
) -> CertificateFacts:
    """Put a certificate with its chain, and its key (mode 0600), in place; return its facts.

    Checked as a whole first: nothing is touched unless it can be used.

    Raises: ConfigurationProblems with everything that is wrong; OSError if it cannot be written,
    the old pair is then in place again.
    """
    found = chain.problems(chain_pem, key_pem)
    if found:
        raise ConfigurationProblems(found)
    # Two files cannot be renamed as one. A worker reads them at start and on SIGHUP only, and
    # keeps what it has if they do not match.
    before = _content(key_path)
    write(key_path, chain.key_block(key_pem), mode=0o600)
    try:
        write(certificate_path, _normal(chain_pem), mode=0o644)
    except OSError:
        if before is None:
            os.unlink(key_path)
        else:
            write(key_path, before, mode=0o600)
        raise
    return facts(chain_pem)


def write(path: str, content: bytes, *, mode: int) -> None:
    """Replace the file as a whole or not at all; its directory is made if need be.

    Run by root, the file gets the owner of the one it replaces, or else of its directory: the
    worker does not run as root and has to read it.
    """
    target = Path(path)
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    owner = (target if target.exists() else target.parent).stat()
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _content(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def _normal(chain_pem: bytes) -> bytes:
    """Return the certificates only: no text between them, no key that came in the same file."""
    certificates = chain.certificates(chain_pem)
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _subject(names: list[str]) -> x509.Name:
    # The common name is for people only; agents and browsers read the alternative names.
    common_name = names[0] if len(names[0]) <= _COMMON_NAME_MAX else "agent-proxy"
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(names: list[str]) -> x509.SubjectAlternativeName:
    if not names:
        raise ValueError("a certificate needs at least one host name or address")
    return x509.SubjectAlternativeName([_alternative_name(name) for name in names])


def _alternative_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    labels = name.removeprefix("*.").split(".")
    if not name.isascii() or len(name) > 253 or not all(_is_label(label) for label in labels):
        raise ValueError(f"{name!r} is neither a host name nor an address")
    return x509.DNSName(name)


def _is_label(label: str) -> bool:
    plain = label.replace("-", "").replace("_", "")
    return 0 < len(label) <= 63 and plain.isalnum() and label[0] != "-" and label[-1] != "-"


def _server_usage(*, key_encipherment: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
