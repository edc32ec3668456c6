"""Every verb there is. The command line and the menu are both made from this list.

Neighbours: the `*_verbs` modules below, `cli` and `menu` above. Whoever adds a verb adds it to a
`*_verbs` module of its topic, and that module here.
"""

from __future__ import annotations

from typing import Final

from appliance import (
    access_verbs,
    backup_verbs,
    certificate_verbs,
    commit_verbs,
    diagnose_verbs,
    firewall_verbs,
    first_boot_verbs,
    machine_verbs,
    network_verbs,
    platform_verbs,
    power_verbs,
    service_verbs,
    settings_verbs,
    upgrade_verbs,
    zone_verbs,
)
from appliance.verb import Argument, Context, Kind, Result, Values, Verb

__all__ = ["VERBS", "Argument", "Context", "Kind", "Result", "Values", "Verb", "named"]

VERBS: Final[tuple[Verb, ...]] = (
    *first_boot_verbs.VERBS,
    *upgrade_verbs.VERBS,
    *power_verbs.VERBS,
    *settings_verbs.VERBS,
    *network_verbs.VERBS,
    *zone_verbs.VERBS,
    *firewall_verbs.VERBS,
    *platform_verbs.VERBS,
    *certificate_verbs.VERBS,
    *service_verbs.VERBS,
    *access_verbs.VERBS,
    *machine_verbs.VERBS,
    *backup_verbs.VERBS,
    *diagnose_verbs.VERBS,
    *commit_verbs.VERBS,
)


def named(name: str) -> Verb:
    """Return the verb of this name. Raises: KeyError."""
    return {verb.name: verb for verb in VERBS}[name]
