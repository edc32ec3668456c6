"""proxy.tls: one context per trust boundary, old protocols only on request, our own dates."""

from __future__ import annotations

import dataclasses
import ssl
import time
from pathlib import Path

import pytest

from proxy import settings, tls
from proxy.certificates import self_signed
from proxy.errors import ConfigurationProblems
from proxy.settings import Settings

from .authority import issue

DAY_S = 86400


def made(directory: Path, *lines: str, days: int = 90) -> Settings:
    certificate, key = self_signed(["127.0.0.1"], days)
    (directory / "own.crt").write_bytes(certificate)
    (directory / "own.key").write_bytes(key)
    listen = [f"certificate = {directory}/own.crt", f"key = {directory}/own.key"]
    return settings.parse(["[listen]", *listen, *lines])


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Return the protocol version that both settle on. Raises: ssl.SSLError."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[0].version() or ""


def old_server(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "own.crt", directory / "own.key")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def old_client() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("min_tls", ["1.0", "1.2"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
def test_nobody_can_choose_a_key_exchange_in_finite_fields(tmp_path: Path, min_tls: str) -> None:
    """Neither callers nor a called agent, whose choice of 8,192 bits cost us 235 ms a call."""
    lines = [f"min_tls = {min_tls}", "[agents]", f"min_tls = {min_tls}"]
    all_of = tls.contexts(made(tmp_path, *lines))
    contexts = (all_of.agents, all_of.platform, all_of.upstream, all_of.to_agents, all_of.to_peers)
    for context in contexts:
        ciphers = [cipher for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
        assert ciphers
        assert not [one["name"] for one in ciphers if one["kea"] not in ("kx-ecdhe", "kx-rsa")]
    assert "kx-rsa" in {cipher["kea"] for cipher in all_of.to_agents.get_ciphers()}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
@pytest.mark.parametrize("section", ["agents", "listen"])
def test_tls_1_0_only_where_the_setting_says_so(tmp_path: Path, section: str) -> None:
    for line, allowed in (("min_tls = 1.2", False), ("min_tls = 1.0", True)):
        lines = [line] if section == "listen" else [f"[{section}]", line]
        contexts = tls.contexts(made(tmp_path, *lines))
        if section == "listen":
            server, client = contexts.agents, old_client()
        else:
            server, client = old_server(tmp_path), contexts.to_agents
        if allowed:
            assert shake_hands(server, client) == "TLSv1"
        else:
            with pytest.raises(ssl.SSLError):
                shake_hands(server, client)


def test_expiry_is_the_certificate_s_own(tmp_path: Path) -> None:
    contexts = tls.contexts(made(tmp_path, days=10))
    assert abs(contexts.expires_at - time.time() - 10 * DAY_S) < 2 * 3600


def test_expired_certificate_has_no_time_left(tmp_path: Path) -> None:
    found = made(tmp_path)
    leaf = issue("proxy.example.com", begins_in_days=-20, ends_in_days=-1)
    (tmp_path / "own.crt").write_bytes(leaf.pem)
    (tmp_path / "own.key").write_bytes(leaf.key_pem)
    assert tls.contexts(found).expires_at == 0


def test_every_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    found = made(tmp_path)
    found = dataclasses.replace(
        found,
        listen=dataclasses.replace(found.listen, certificate="missing.crt"),
        upstream=dataclasses.replace(found.upstream, ca_file="missing.ca"),
        platform=dataclasses.replace(found.platform, client_ca="missing.client"),
    )
    with pytest.raises(ConfigurationProblems) as caught:
        tls.contexts(found)
    assert [problem.key for problem in caught.value.problems] == [
        "[listen] certificate, key",
        "[platform] client_ca",
        "[upstream] ca_file",
    ]


def test_platform_without_its_certificate_gets_no_handshake(tmp_path: Path) -> None:
    certificate, _ = self_signed(["ca"], 10)
    (tmp_path / "ca.pem").write_bytes(certificate)
    contexts = tls.contexts(made(tmp_path, "[platform]", f"client_ca = {tmp_path}/ca.pem"))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    assert shake_hands(contexts.agents, client) == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        shake_hands(contexts.platform, client)
