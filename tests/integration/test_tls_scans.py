"""What testssl.sh and sslscan say of the listener with default settings: nothing that matters.

testssl waits more than it works, so its three runs go on beside each other and beside sslscan.
Not asked: HTTP headers, which are the platform's own (the proxy adds nothing to its answers), and
simulations of browsers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.fakes.certificates import KeyPair, self_signed
from tests.integration.nodes import Node
from tests.unit.authority import issue

LONGEST_S = 400.0
MATTER = ("MEDIUM", "HIGH", "CRITICAL")
# Of a certificate that `certificate self-signed` makes. Both are true, and the operator's choice:
# agents with environment=production must be given it, and nobody can revoke it but by replacing it.
SELF_SIGNED = {"cert_chain_of_trust", "cert_revocation"}
GROUPS = {"x25519", "secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)", "secp521r1 (NIST P-521)"}

pytestmark = [
    pytest.mark.deadline(LONGEST_S),
    *(
        pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed (apt-get)")
        for name in ("testssl", "sslscan", "openssl")
    ),
]


def findings(report: Path) -> dict[str, str]:
    """Return severity by id, of all that testssl found out."""
    content = json.loads(report.read_text())
    assert isinstance(content, list)
    return {one["id"]: one["severity"] for one in content}


class Scan:
    """testssl in the background."""

    def __init__(self, node: Node, home: Path, *options: str) -> None:
        self._report = home / "report.json"
        self._output = home / "output"
        command = ["testssl", "--color", "0", "--quiet", "--warnings", "batch", "-n", "none"]
        command += ["--ip", "127.0.0.1", "--jsonfile", str(self._report), *options]
        with open(self._output, "wb") as output:
            self._process = subprocess.Popen(
                [*command, f"localhost:{node.address[1]}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                env={**os.environ, "TERM": "dumb"},
            )

    def findings(self) -> dict[str, str]:
        self._process.wait(LONGEST_S)
        assert self._report.exists(), self._output.read_text(errors="replace")
        return findings(self._report)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, KeyPair]:
    """Return an authority's certificate and one for localhost by it, as a site's own CA makes."""
    home = tmp_path_factory.mktemp("authority")
    ca = issue("site CA", ca=True)
    leaf = issue("localhost", ca, names=("localhost",), revoked_at="http://ca.example/crl")
    pair = KeyPair(home / "proxy.crt", home / "proxy.key")
    pair.certificate.write_bytes(leaf.pem)
    pair.key.write_bytes(leaf.key_pem)
    (home / "ca.pem").write_bytes(ca.pem)
    return home / "ca.pem", pair


@pytest.fixture(scope="module")
def scans(
    tmp_path_factory: pytest.TempPathFactory,
    build: Callable[[Any], Node],
    authority: tuple[Path, KeyPair],
) -> Iterator[dict[str, Any]]:
    """Start a node with an authority's certificate, one with a self-signed one, and all scans."""
    ca, pair = authority
    settings = {"agents": {"networks": "127.0.0.0/24", "allow_loopback": "yes"}}
    listen = {"certificate": pair.certificate, "key": pair.key}
    own = self_signed(tmp_path_factory.mktemp("own"), "own", ("localhost",))
    nodes = [
        build({**settings, "listen": listen}),
        build({**settings, "listen": {"certificate": own.certificate, "key": own.key}}),
    ]
    running: dict[str, Any] = {"node": nodes[0]}
    try:
        for node in nodes:
            node.start()
            node.wait_until_ready()
        trusting = ("--add-ca", str(ca))
        for name, node, options in (
            ("settings", nodes[0], ("-p", "-s", "-f", "-P", "-S", *trusting)),
            ("weaknesses", nodes[0], ("-U", *trusting)),
            ("self-signed", nodes[1], ("-S",)),
        ):
            running[name] = Scan(node, tmp_path_factory.mktemp("scan"), *options)
        yield running
    finally:
        for one in running.values():
            if isinstance(one, Scan):
                one.end()
        for node in nodes:
            node.stop()


def test_sslscan_sees_only_what_is_meant_to_be_there(scans: dict[str, Any]) -> None:
    node = scans["node"]
    done = subprocess.run(
        ["sslscan", "--no-colour", "--xml=-", f"127.0.0.1:{node.address[1]}"],
        capture_output=True,
        timeout=LONGEST_S,
    )
    assert done.returncode == 0, done.stderr
    (seen,) = ElementTree.fromstring(done.stdout).findall("ssltest")
    protocols = {
        one.attrib["type"] + one.attrib["version"]
        for one in seen.findall("protocol")
        if one.attrib["enabled"] == "1"
    }
    assert protocols == {"tls1.2", "tls1.3"}
    ciphers = {one.attrib["cipher"] for one in seen.findall("cipher")}
    assert ciphers == {
        *("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"),
        *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    }
    assert {one.attrib["name"] for one in seen.findall("group")} == GROUPS
    assert seen.find("renegotiation").attrib["supported"] == "0"  # type: ignore[union-attr]
    hearts = seen.findall("heartbleed")
    assert len(hearts) == 2 and {one.attrib["vulnerable"] for one in hearts} == {"0"}


def test_no_caller_can_choose_an_expensive_key_exchange(scans: dict[str, Any]) -> None:
    """Finite fields with TLS 1.3 cost us up to 180 ms of CPU, the caller nothing."""
    command = ["openssl", "s_client", "-tls1_3", "-connect"]
    command += [f"127.0.0.1:{scans['node'].address[1]}", "-groups"]
    for group, served in (("X25519", True), ("P-256", True), ("ffdhe2048", False)):
        done = subprocess.run(
            [*command, group], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
        assert (b"Cipher is TLS_" in done.stdout) == served, (group, done.stdout, done.stderr)


def test_testssl_finds_nothing_of_medium_or_higher(scans: dict[str, Any]) -> None:
    seen = {**scans["settings"].findings(), **scans["weaknesses"].findings()}
    # What must have been looked at, or the absence of findings says nothing.
    looked = {
        *("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "PFS"),
        *("cipherlist_aNULL", "cipherlist_3DES_IDEA", "cert_chain_of_trust", "heartbleed", "CCS"),
        *("ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "SWEET32"),
        *("FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4", "cipher_order", "ticketbleed"),
    }
    assert looked <= set(seen), looked - set(seen)
    assert {name: level for name, level in seen.items() if level in MATTER} == {}
    assert {name for name, level in seen.items() if level == "FATAL"} == set()


def test_self_signed_certificate_is_the_only_thing_that_testssl_minds(
    scans: dict[str, Any],
) -> None:
    """Also shows that a finding would be seen."""
    seen = scans["self-signed"].findings()
    assert {name for name, level in seen.items() if level in MATTER} == SELF_SIGNED
