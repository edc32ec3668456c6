"""What keeps a certificate from being installed: each thing is named, all of them at once."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from proxy import chain
from tests.unit.authority import Issued, ec_key, issue, key_pem, rsa_key


@pytest.fixture(scope="module")
def root() -> Issued:
    return issue("Root", ca=True)


@pytest.fixture(scope="module")
def intermediate(root: Issued) -> Issued:
    return issue("Intermediate", root, ca=True)


@pytest.fixture(scope="module")
def leaf(intermediate: Issued) -> Issued:
    return issue("proxy", intermediate, usage=ExtendedKeyUsageOID.SERVER_AUTH)


def _messages(chain_pem: bytes, key: bytes) -> list[str]:
    return [
        f"{problem.key} {problem.value} {problem.message}"
        for problem in chain.problems(chain_pem, key)
    ]


def test_leaf_then_intermediate_is_right(leaf: Issued, intermediate: Issued) -> None:
    assert _messages(leaf.pem + intermediate.pem, leaf.key_pem) == []


def test_root_may_be_there_or_left_out(leaf: Issued, intermediate: Issued, root: Issued) -> None:
    assert _messages(leaf.pem + intermediate.pem + root.pem, leaf.key_pem) == []
    assert _messages(leaf.pem, leaf.key_pem) == []


def test_wrong_order_is_named_with_both(leaf: Issued, intermediate: Issued) -> None:
    messages = _messages(intermediate.pem + leaf.pem, intermediate.key_pem)
    assert messages == [
        "certificate CN=Intermediate names no host or address",
        "certificate CN=Intermediate is followed by CN=proxy, which did not issue it",
    ]


def test_issuer_must_be_allowed_to_issue(root: Issued) -> None:
    impostor = issue("impostor", root)
    leaf = issue("proxy", impostor)
    assert _messages(leaf.pem + impostor.pem, leaf.key_pem) == [
        "certificate CN=proxy was issued by CN=impostor, which may not issue certificates"
    ]


def test_key_of_another_certificate(leaf: Issued) -> None:
    other = key_pem(ec_key(), serialization.NoEncryption())
    assert _messages(leaf.pem, other) == ["key  does not belong to CN=proxy"]


def test_key_with_passphrase_is_refused_with_the_remedy(leaf: Issued) -> None:
    locked = key_pem(leaf.key, serialization.BestAvailableEncryption(b"secret"))
    (problem,) = chain.problems(leaf.pem, locked)
    assert problem.message == "is protected by a passphrase"
    assert "openssl pkey" in problem.remedy


@pytest.mark.parametrize("key", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_no_key_at_all(leaf: Issued, key: bytes) -> None:
    assert _messages(leaf.pem, key) == ["key  is not a private key that can be read"]


def test_key_behind_parameters_and_before_a_certificate(leaf: Issued) -> None:
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert _messages(leaf.pem, parameters + leaf.key_pem + leaf.pem) == []


@pytest.mark.parametrize("text", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_not_a_certificate(text: bytes) -> None:
    assert _messages(text, b"") == ["certificate  is not a certificate in PEM form"]


def test_dates_and_key_are_reported_together(root: Issued) -> None:
    ended = issue("old", root, begins_in_days=-30, ends_in_days=-2)
    messages = _messages(ended.pem, root.key_pem)
    assert [message.partition(" on ")[0] for message in messages] == [
        "certificate CN=old expired",
        "key  does not belong to CN=old",
    ]


def test_not_yet_valid(root: Issued) -> None:
    early = issue("early", root, begins_in_days=3)
    (message,) = _messages(early.pem, early.key_pem)
    assert "is valid from " in message


def test_intermediate_that_expired(root: Issued) -> None:
    ended = issue("Ended", root, ca=True, begins_in_days=-30, ends_in_days=-2)
    leaf = issue("proxy", ended)
    (message,) = _messages(leaf.pem + ended.pem, leaf.key_pem)
    assert message.startswith("certificate CN=Ended expired")


def test_client_certificate_is_not_for_a_server() -> None:
    client = issue("client", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    assert _messages(client.pem, client.key_pem) == [
        "certificate CN=client is not meant for a TLS server"
    ]


def test_short_rsa_key() -> None:
    short = issue("short", key=rsa_key(1024))
    assert _messages(short.pem, short.key_pem) == ["certificate RSA 1024 the key is too short"]


def test_kinds_of_keys(leaf: Issued) -> None:
    assert chain.kind(leaf.certificate.public_key()) == "EC P-256"
    assert chain.kind(rsa_key(2048).public_key()) == "RSA 2048"
