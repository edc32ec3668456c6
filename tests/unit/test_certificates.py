"""Certificates of the node: what OpenSSL makes of them, and what is on disk afterwards."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from proxy import certificates
from proxy.errors import ConfigurationProblems

NAMES = ["proxy.example.com", "10.1.2.3", "::1"]


def _handshake(certificate: Path, key: Path, name: str) -> None:
    """Do TLS in memory, the client trusting this certificate alone and checking `name`."""
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(certificate, key)
    calling = ssl.create_default_context(cafile=str(certificate))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = calling.wrap_bio(to_client, to_server, server_hostname=name)
    server = accepting.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("name", NAMES)
def test_self_signed_is_accepted_for_each_name(tmp_path: Path, name: str) -> None:
    certificate, key = certificates.self_signed(NAMES, 30)
    paths = tmp_path / "proxy.crt", tmp_path / "proxy.key"
    certificates.install(certificate, key, str(paths[0]), str(paths[1]))
    _handshake(*paths, name)


def test_self_signed_is_refused_for_another_name(tmp_path: Path) -> None:
    certificate, key = certificates.self_signed(NAMES, 30)
    paths = tmp_path / "proxy.crt", tmp_path / "proxy.key"
    certificates.install(certificate, key, str(paths[0]), str(paths[1]))
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(*paths, "other.example.com")


def test_facts_of_a_certificate() -> None:
    certificate, _ = certificates.self_signed(NAMES, 30)
    facts = certificates.facts(certificate)
    assert facts.subject == facts.issuer == "CN=proxy.example.com"
    assert facts.names == ("proxy.example.com", "10.1.2.3", "::1")
    assert facts.key_kind == "EC P-256"
    assert facts.days_left == 29
    assert (facts.not_after - facts.not_before).days == 30
    der = ssl.PEM_cert_to_DER_cert(certificate.decode())
    import hashlib

    assert facts.sha256 == hashlib.sha256(der).hexdigest()


def test_facts_of_something_else() -> None:
    with pytest.raises(ValueError, match="is not a certificate"):
        certificates.facts(b"hello")


def test_request_names_all_and_is_signed_by_its_key() -> None:
    signed, key = certificates.request(NAMES)
    request = x509.load_pem_x509_csr(signed)
    alternative = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == ["proxy.example.com"]
    assert len(alternative.get_values_for_type(x509.IPAddress)) == 2
    assert request.is_signature_valid
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "at least one"),
        (["a b"], "neither a host name nor an address"),
        (["-a.example.com"], "neither"),
        (["a..b"], "neither"),
        (["x" * 64 + ".example.com"], "neither"),
        (["b\u00fccher.example"], "neither"),
    ],
)
def test_bad_names_are_refused(names: list[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        certificates.self_signed(names, 30)
    with pytest.raises(ValueError, match=reason):
        certificates.request(names)


def test_no_days() -> None:
    with pytest.raises(ValueError, match="at least one day"):
        certificates.self_signed(NAMES, 0)


def test_long_name_is_no_common_name() -> None:
    long_name = ".".join(["x" * 60] * 2)
    facts = certificates.facts(certificates.self_signed([long_name], 1)[0])
    assert facts.subject == "CN=agent-proxy"
    assert facts.names == (long_name,)


def test_installed_key_is_for_its_owner_only(tmp_path: Path) -> None:
    certificate, key = certificates.self_signed(NAMES, 30)
    target = tmp_path / "tls"
    certificates.install(certificate, key, str(target / "a.crt"), str(target / "a.key"))
    assert stat.S_IMODE((target / "a.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((target / "a.crt").stat().st_mode) == 0o644
    assert sorted(path.name for path in target.iterdir()) == ["a.crt", "a.key"]


def test_install_that_is_wrong_touches_nothing(tmp_path: Path) -> None:
    certificate, _ = certificates.self_signed(NAMES, 30)
    _, other = certificates.self_signed(NAMES, 30)
    (tmp_path / "a.crt").write_bytes(b"before")
    with pytest.raises(ConfigurationProblems) as caught:
        certificates.install(certificate, other, str(tmp_path / "a.crt"), str(tmp_path / "a.key"))
    assert "does not belong" in str(caught.value)
    assert (tmp_path / "a.crt").read_bytes() == b"before"
    assert not (tmp_path / "a.key").exists()


@pytest.mark.parametrize("before", [b"old key", None])
def test_install_that_fails_half_way_is_taken_back(tmp_path: Path, before: bytes | None) -> None:
    certificate, key = certificates.self_signed(NAMES, 30)
    key_path, in_the_way = tmp_path / "a.key", tmp_path / "a.crt"
    in_the_way.mkdir()
    (in_the_way / "file").touch()  # a directory that is not empty cannot be replaced
    if before is not None:
        key_path.write_bytes(before)
    with pytest.raises(OSError):
        certificates.install(certificate, key, str(in_the_way), str(key_path))
    assert (key_path.read_bytes() if key_path.exists() else None) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["a.crt", "a.key"] if before else ["a.crt"]
    )


def test_only_certificates_are_written(tmp_path: Path) -> None:
    certificate, key = certificates.self_signed(NAMES, 30)
    path = tmp_path / "a.crt"
    certificates.install(b"words\n" + certificate + key, key, str(path), str(tmp_path / "a.key"))
    assert path.read_bytes() == certificate


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_owner_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 12345, 12346)
    certificates.write(str(path), b"new", mode=0o640)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 12346, 0o640)


def test_rsa_on_request_for_agents_that_know_nothing_else() -> None:
    certificate, key = certificates.self_signed(["proxy.example.com"], 30, rsa_key=True)
    assert certificates.facts(certificate).key_kind == "RSA 2048"
    usage = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.KeyUsage
    )
    assert usage.value.key_encipherment  # what TLS_RSA_* cipher suites, Java 6's, use
    assert b"PRIVATE KEY" in key
