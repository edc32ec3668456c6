"""What is wrong with a certificate chain and its key, and how to read one.

Shell only for asking the clock. Neighbours: `errors` below; `certificates` and `check` above.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy.errors import Problem

__all__ = ["certificates", "key_block", "kind", "names", "problems"]

_RSA_BITS_MIN: Final = 2048


def problems(chain_pem: bytes, key_pem: bytes) -> list[Problem]:
    """Return everything that keeps this chain and key from being used, in order; empty if nothing.

    The chain is the node's certificate first, then each issuer of the one before it; the root may
    be left out.
    """
    found: list[Problem] = []
    try:
        chain = certificates(chain_pem)
    except ValueError as error:
        remedy = "Give a PEM file: the node's certificate first, then the intermediate ones."
        return [_problem("certificate", "", str(error), remedy)]
    found += _of_leaf(chain[0])
    found += _of_dates(chain)
    found += _of_order(chain)
    found += _of_key(chain[0], key_pem)
    return found


def certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("is not a certificate in PEM form") from None


def key_block(pem: bytes) -> bytes:
    """Return the private key block alone: files of `openssl ecparam` begin with parameters."""
    found = re.search(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", pem, re.DOTALL)
    return found[0] + b"\n" if found else b""


def _problem(key: str, value: str, message: str, remedy: str) -> Problem:
    return Problem("certificate install", 0, key, value, message, remedy)


def _of_leaf(leaf: x509.Certificate) -> Iterator[Problem]:
    if not names(leaf):
        remedy = "Ask the CA for one with a subjectAltName: agents look at nothing else."
        yield _problem("certificate", _shown(leaf), "names no host or address", remedy)
    public = leaf.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < _RSA_BITS_MIN:
        remedy = "Make a new request: `agent-proxy certificate request`."
        yield _problem("certificate", kind(public), "the key is too short", remedy)
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    allowed = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if not allowed.intersection(usages):
        remedy = "Ask the CA for a TLS server certificate."
        yield _problem("certificate", _shown(leaf), "is not meant for a TLS server", remedy)


def _of_dates(chain: list[x509.Certificate]) -> Iterator[Problem]:
    now = datetime.datetime.now(datetime.UTC)
    for certificate in chain:
        if certificate.not_valid_after_utc <= now:
            text = f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
            remedy = "Ask the CA for a new one, or correct the clock of this machine."
            yield _problem("certificate", _shown(certificate), text, remedy)
        elif certificate.not_valid_before_utc > now:
            text = f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only"
            remedy = "Wait until then, or correct the clock of this machine."
            yield _problem("certificate", _shown(certificate), text, remedy)


def _of_order(chain: list[x509.Certificate]) -> Iterator[Problem]:
    for subject, issuer in zip(chain, chain[1:], strict=False):
        remedy = "Order the file: the node's certificate, then each one's issuer; no others."
        try:
            subject.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            text = f"is followed by {_shown(issuer)}, which did not issue it"
            yield _problem("certificate", _shown(subject), text, remedy)
            continue
        if not _is_authority(issuer):
            text = f"was issued by {_shown(issuer)}, which may not issue certificates"
            yield _problem("certificate", _shown(subject), text, remedy)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _of_key(leaf: x509.Certificate, key_pem: bytes) -> Iterator[Problem]:
    try:
        key = serialization.load_pem_private_key(key_block(key_pem), password=None)
    except TypeError:
        remedy = "Take the passphrase off: `openssl pkey -in old.key -out new.key`."
        yield _problem("key", "", "is protected by a passphrase", remedy)
        return
    except (ValueError, UnsupportedAlgorithm):
        remedy = "Give a PEM file that begins with -----BEGIN PRIVATE KEY-----."
        yield _problem("key", "", "is not a private key that can be read", remedy)
        return
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        remedy = "Give the key that the request was made with, and the node's certificate first."
        yield _problem("key", "", f"does not belong to {_shown(leaf)}", remedy)


def _shown(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    hosts = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return (*hosts, *map(str, addresses))


def kind(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        curves = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
        return f"EC {curves.get(key.curve.name, key.curve.name)}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "Ed448" if isinstance(key, ed448.Ed448PublicKey) else type(key).__name__
