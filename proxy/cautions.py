"""What is allowed only on purpose, and is therefore said wherever one looks.

Shell. Neighbours: `worker` says it at start and after a reload, `admin` shows it.
"""

from __future__ import annotations

import logging
from typing import Final

from proxy.settings import Settings

_log = logging.getLogger(__name__)
_SOON_DAYS: Final = 30


def of(settings: Settings) -> list[str]:
    """Return what is allowed only on purpose, and is therefore said wherever one looks."""
    warnings = []
    if settings.upstream.endpoints and not settings.upstream.verify:
        warnings.append("[upstream] verify = no: whoever answers is taken for the platform")
    if settings.agents.allow_loopback:
        warnings.append("[agents] allow_loopback = yes: for demonstrations on one machine only")
    for peer in settings.peers:
        if not (peer.certificate and peer.certificate_file):
            text = "without certificate and certificate_file its calls are refused"
            warnings.append(f"[peers/{peer.id}]: {text}")
    if settings.platform.routes == "any":
        warnings.append("[platform] routes = any: routes without a seal are followed")
    for section, min_tls in (
        ("listen", settings.listen.min_tls),
        ("upstream", settings.upstream.min_tls),
        ("agents", settings.agents.min_tls),
    ):
        if min_tls in ("1.0", "1.1"):
            warnings.append(f"[{section}] min_tls = {min_tls}: for old agents, breakable")
    return warnings


def certificate(expires_at: float, now: float) -> str:
    """Return what is to be said of our own certificate; "": nothing."""
    if expires_at <= now:
        return "the certificate has expired or is not valid yet: install another, then reload"
    days = int((expires_at - now) // 86400)
    return f"the certificate ends in {days} days" if days < _SOON_DAYS else ""


class CertificateEnd:
    """Logs that our own certificate will end, once a day, and that it has."""

    def __init__(self) -> None:
        self._said = ""

    def look(self, expires_at: float, now: float) -> None:
        before, self._said = self._said, certificate(expires_at, now)
        if self._said not in ("", before):
            _log.log(logging.WARNING if expires_at > now else logging.ERROR, "%s", self._said)


def log(settings: Settings) -> None:
    for warning in of(settings):
        _log.warning("%s", warning)
