"""TLS contexts, one per trust boundary, and what is in our certificate.

Shell. Neighbours: `settings` says what is wanted; `worker` builds a `Contexts` at start and on
reload; `stream` and `upstream` use them.

Sessions. TLS 1.3 gives no tickets, which cost every new connection more than they save a resumed
one (docs/decisions/013). TLS 1.2 resumes. Its tickets are made under a key of the context, which
nobody else has: a session of an agent's context is never resumed in the platform's, which demands
a certificate, nor in another worker, on another node or after a reload. (Python's ssl cannot share
the key. An agent that comes to another worker pays a whole handshake, which is safe and costs
0.3 ms.) An agent's session says nothing about who it is: that is asked of each connection's
address. Where a certificate is demanded there are no tickets at all: they would be renewed for
ever, and the certificate's end, its CA or the lack of one would never be looked at again. TLS 1.2
then resumes by session ID, for two hours at most; `connection` looks at the certificate's end each
time.

`openssl.cnf` beside this file limits key exchange to elliptic curves: ssl has no setting for it.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import Final, NamedTuple

from proxy.callers import Caller
from proxy.errors import ConfigurationProblems, Problem
from proxy.settings import Peer, Settings

_VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
# Forward secret and authenticated ciphers only, for TLS 1.2; TLS 1.3 has no others.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
# Old agents keep RSA key exchange. Not finite fields: who is called chooses how large these are,
# and each call of a compromised agent would cost us 235 ms of CPU with 8,192 bits (2026-11).
_AGENTS_CIPHERS: Final = "DEFAULT:!kDHE:!PSK:!SRP"
# What Java 6 can speak. SECLEVEL=0 since OpenSSL 3 counts TLS 1.0's signatures as level 0.
_OLD_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:AES128-SHA:AES256-SHA:@SECLEVEL=0"


class Contexts(NamedTuple):
    """Every TLS context of one node, and the SHA-256 of the certificate it shows."""

    agents: ssl.SSLContext
    """For accepted agents: no client certificate."""
    platform: ssl.SSLContext
    """For an accepted platform: with `client_ca`, no handshake without a certificate from it."""
    peers: dict[str, ssl.SSLContext]
    """For an accepted peer, by its ID: no handshake without the certificate that [peers] names."""
    upstream: ssl.SSLContext
    to_agents: ssl.SSLContext
    to_peers: ssl.SSLContext
    """For calls to peers: shows our certificate; theirs is compared with [peers] certificate."""
    certificate_sha256: str
    expires_at: float
    """When the certificate ends, in seconds since 1970; 0: it cannot be used even now."""

    def accepting(self, caller: Caller) -> ssl.SSLContext:
        """Return the context for a caller of this class."""
        if caller.peer is not None:
            return self.peers[caller.peer.id]
        return self.platform if caller.kind == "platform" else self.agents


def contexts(settings: Settings) -> Contexts:
    """Build all contexts. Raises: ConfigurationProblems with every file that cannot be used."""
    problems: list[Problem] = []
    agents = _accepting(settings, "", problems)
    platform = _accepting(settings, settings.platform.client_ca, problems)
    peers = {peer.id: _accepting_peer(settings, peer, problems) for peer in settings.peers}
    upstream = _to_upstream(settings, problems)
    to_agents = _to_agents(settings, problems)
    leaf = _leaf(settings, problems)
    if problems:
        raise ConfigurationProblems(problems)
    sha256 = hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()
    to_peers = _to_peers(settings)
    ends = _expiry(agents, leaf)
    return Contexts(agents, platform, peers, upstream, to_agents, to_peers, sha256, ends)


def _problem(key: str, value: str, error: Exception, remedy: str) -> Problem:
    reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
    return Problem("proxy.ini", 0, key, value, str(reason), remedy)


def _floor(context: ssl.SSLContext, min_tls: str) -> None:
    context.minimum_version = _VERSIONS[min_tls]
    context.set_ciphers(_OLD_CIPHERS if min_tls in ("1.0", "1.1") else _CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # Set by default in some 3.11 builds, Debian 12's among them: a connection that was cut would
    # look properly closed, and half a response complete.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF


def _accepting(settings: Settings, client_ca: str, problems: list[Problem]) -> ssl.SSLContext:
    listen = settings.listen
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _floor(context, listen.min_tls)
    context.num_tickets = 0
    try:
        context.load_cert_chain(listen.certificate, listen.key)
    except (OSError, ssl.SSLError) as error:
        if not client_ca:  # said once, not for each context
            remedy = "Make one with `agent-proxy certificate self-signed` or install yours."
            shown = f"{listen.certificate}, {listen.key}"
            problems.append(_problem("[listen] certificate, key", shown, error, remedy))
    if client_ca:
        _demand_certificate(context)
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            remedy = "Give a PEM file with the platform's client CA."
            problems.append(_problem("[platform] client_ca", client_ca, error, remedy))
    return context


def _demand_certificate(context: ssl.SSLContext) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET


def _accepting_peer(settings: Settings, peer: Peer, problems: list[Problem]) -> ssl.SSLContext:
    """Return a context that lets only the certificate in the peer's file, or issued by it, in.

    `connection` then compares its SHA-256: OpenSSL knows files only, the operator compares sums.
    """
    context = _accepting(settings, "", [])
    _demand_certificate(context)
    # A self-signed certificate that is trusted by itself need not be an authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if peer.certificate_file:  # without a file nobody is let in
        try:
            context.load_verify_locations(peer.certificate_file)
        except (OSError, ssl.SSLError) as error:
            remedy = "Give a PEM file with the other proxy's certificate."
            key = f"[peers/{peer.id}] certificate_file"
            problems.append(_problem(key, peer.certificate_file, error, remedy))
    return context


def _to_peers(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the certificate itself is compared, a name says less
    context.verify_mode = ssl.CERT_NONE
    _floor(context, "1.2")
    _show_ourselves(context, settings)
    return context


def _show_ourselves(context: ssl.SSLContext, settings: Settings) -> None:
    try:
        context.load_cert_chain(settings.listen.certificate, settings.listen.key)
    except (OSError, ssl.SSLError):
        pass  # reported with [listen] already: contexts() fails


def _to_upstream(settings: Settings, problems: list[Problem]) -> ssl.SSLContext:
    upstream = settings.upstream
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _floor(context, upstream.min_tls)
    if not upstream.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif upstream.ca_file:
        try:
            context.load_verify_locations(upstream.ca_file)
        except (OSError, ssl.SSLError) as error:
            remedy = "Give a PEM file with the CA that signed the platform's certificate."
            problems.append(_problem("[upstream] ca_file", upstream.ca_file, error, remedy))
    else:
        context.load_default_certs()
    if any(peer.role == "farther" for peer in settings.peers):
        _show_ourselves(context, settings)  # the upstream is a proxy that wants to know us
    return context


def _to_agents(settings: Settings, problems: list[Problem]) -> ssl.SSLContext:
    agents = settings.agents
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # agents are dialled by address, their names say nothing
    _floor(context, agents.min_tls)
    # No forward secrecy is demanded: payloads are signed end to end (PROTOCOL.md section 3).
    context.set_ciphers(_OLD_CIPHERS if agents.min_tls in ("1.0", "1.1") else _AGENTS_CIPHERS)
    if agents.verify == "ca":
        try:
            context.load_verify_locations(agents.ca_file)
        except (OSError, ssl.SSLError) as error:
            remedy = "Give a PEM file with the CA that signs agents' certificates."
            problems.append(_problem("[agents] ca_file", agents.ca_file, error, remedy))
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


def _leaf(settings: Settings, problems: list[Problem]) -> str:
    """Return our own certificate, the first of its file, as PEM."""
    try:
        with open(settings.listen.certificate, encoding="ascii") as file:
            text = file.read()
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return text[begin:end]
    except (OSError, ValueError) as error:
        if not problems:  # a file that could not be loaded was reported already
            remedy = "Put the node's certificate first in the file."
            shown = settings.listen.certificate
            problems.append(_problem("[listen] certificate", shown, error, remedy))
        return ""


def _expiry(context: ssl.SSLContext, leaf: str) -> float:
    """Return when `leaf` ends, by shaking hands with ourselves in memory.

    The ssl module tells the dates of a peer's verified certificate only.
    """
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.load_verify_locations(cadata=leaf)
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client_context.minimum_version = context.minimum_version
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(up, down, server_side=True)
    client = client_context.wrap_bio(down, up)
    for _ in range(4):  # a handshake is two flights each way at most
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return 0.0  # expired, or not valid yet
    shown = client.getpeercert()
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"]))) if shown else 0.0
