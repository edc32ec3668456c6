"""Which module has the verbs that begin with a word, so that a command loads no others.

Neighbours: the `*_verbs` modules below; `verbs` is all of them, `cli` above asks here first. All of
it with the console takes 0.33 s of a processor to load, and 6 s of an emulated one (2026-11): every
start of the machine runs such commands, and agents wait for their end.
"""

from __future__ import annotations

import importlib
from typing import Final

from appliance.verb import Verb

__all__ = ["beginning_with"]

_MODULES: Final = {
    "first-boot": "first_boot_verbs",
    "upgrade": "upgrade_verbs",
    "status": "power_verbs",
    "restart": "power_verbs",
    "shutdown": "power_verbs",
    "factory-reset": "power_verbs",
    "settings": "settings_verbs",
    "network": "network_verbs",
    "hostname": "network_verbs",
    "zones": "zone_verbs",
    "firewall": "firewall_verbs",
    "platform": "platform_verbs",
    "upstream": "platform_verbs",
    "certificate": "certificate_verbs",
    "services": "service_verbs",
    "password": "access_verbs",
    "ssh": "access_verbs",
    "time": "machine_verbs",
    "syslog": "machine_verbs",
    "updates": "machine_verbs",
    "backup": "backup_verbs",
    "bundle": "diagnose_verbs",
    "diagnose": "diagnose_verbs",
    "waiting": "commit_verbs",
    "confirm": "commit_verbs",
    "rollback": "commit_verbs",
    "recover": "commit_verbs",
}


def beginning_with(word: str) -> tuple[Verb, ...]:
    """Return the verbs whose name begins with this word; none where no verb's does."""
    name = _MODULES.get(word)
    if name is None:
        return ()
    found: tuple[Verb, ...] = importlib.import_module(f"appliance.{name}").VERBS
    return tuple(verb for verb in found if verb.words[0] == word)
