"""A certificate authority for tests: certificates with whatever is wrong with them."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


class Issued(NamedTuple):
    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key, serialization.NoEncryption())


def key_pem(key: Any, encryption: serialization.KeySerializationEncryption) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))


def ec_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits: int) -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def issue(
    name: str,
    issuer: Issued | None = None,
    *,
    ca: bool = False,
    names: tuple[str, ...] = ("proxy.example.com",),
    key: Any = None,
    begins_in_days: float = -1,
    ends_in_days: float = 90,
    usage: x509.ObjectIdentifier | None = None,
    revoked_at: str = "",
) -> Issued:
    """Return a certificate for `name`, by `issuer` or by itself; `revoked_at`: a CRL's URL."""
    key = key or ec_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins_in_days * _DAY)
        .not_valid_after(now + ends_in_days * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names and not ca:
        alternative = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
        builder = builder.add_extension(alternative, critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if revoked_at:
        place = x509.DistributionPoint(
            [x509.UniformResourceIdentifier(revoked_at)], None, None, None
        )
        builder = builder.add_extension(x509.CRLDistributionPoints([place]), critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)
