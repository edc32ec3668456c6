"""One configuration that the tests of all rules share."""

from __future__ import annotations

from proxy.callers import seal_keys
from proxy.destinations import Surroundings
from proxy.settings import Settings, parse

OWN = "45BCEBB32AA9"
SECRET = "0123456789abcdef0123456789abcdef"
PREVIOUS = "previous-previous-previous-previous"
CONFIGURATION = f"""
[proxy]
id = {OWN}
secret = {SECRET}
[upstream]
endpoint = 198.51.100.7:3302
[platform]
networks = 192.0.2.0/24, 2001:db8:1::/48
[agents]
networks = 10.0.0.0/8, fc00::/7
deny = 10.66.0.0/16, fd66::/16
ports = 2003, 2010
[peers]
[[PEERNEARER]]
role = nearer
endpoint = 10.9.0.1:2002
networks = 10.9.0.1/32
certificate = {"ab" * 32}
[[PEERFARTHER]]
role = farther
networks = 10.9.0.2/32
certificate = {"cd" * 32}
"""


def settings_of(*changes: tuple[str, str]) -> Settings:
    text = CONFIGURATION
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parse(text.splitlines())


SETTINGS = settings_of()
ZONE = SETTINGS.zones[0]
KEYS = seal_keys(SETTINGS)
NO_SECRET = ((f"secret = {SECRET}", "secret ="), ("[platform]", "[platform]\nroutes = any"))


def nothing_around() -> Surroundings:
    return Surroundings(lambda address, _: False, frozenset())
