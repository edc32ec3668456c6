"""What is in which list of the console: every verb, by topic.

Pure. Neighbours: `verbs` lists what there is, `screens.Menu` shows it. A verb that no topic takes
would be lost, so a test compares the two.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from appliance.effects import Open
from appliance.screens import Entry, Menu
from appliance.verb import Verb
from appliance.verbs import VERBS

__all__ = ["HIDDEN", "TOPICS", "Topic", "main", "of_topic", "verbs_of"]


class Topic(NamedTuple):
    """One line of the main menu; `words` begin the names of its verbs."""

    name: str
    sense: str
    words: tuple[str, ...]


TOPICS: Final = (
    Topic("Status", "what is going on, and what wants attention", ("status", "diagnose")),
    Topic("Proxy settings", "proxy.ini: by form, or the whole file", ("settings",)),
    Topic(
        "Network", "addresses, names, zones, firewall", ("network", "hostname", "zones", "firewall")
    ),
    Topic("Platform", "who may call, registration, the way upstream", ("platform", "upstream")),
    Topic("Certificates", "the one that agents see", ("certificate",)),
    Topic("Services", "workers: state, restart, logs", ("services",)),
    Topic("Access and logs", "password, SSH, log host", ("password", "ssh", "syslog")),
    Topic(
        "Care",
        "time, updates, upgrade, backup, support",
        ("time", "updates", "upgrade", "backup", "bundle"),
    ),
    Topic(
        "Power",
        "restart, shut down, factory reset",
        ("restart", "shutdown", "factory-reset", "first-boot"),
    ),
)
# The console itself does these: it is one, and it asks about every change that waits.
HIDDEN: Final = frozenset({"console", "waiting", "confirm", "rollback", "recover"})


def verbs_of(topic: Topic) -> list[Verb]:
    """Return a topic's verbs, in the order of its words."""
    return [
        verb
        for word in topic.words
        for verb in VERBS
        if verb.words[0] == word and verb.name not in HIDDEN
    ]


def main() -> Menu:
    """Return the menu that one sees after the log-in."""
    entries = [Entry(one.name, one.sense, Open("topic", one)) for one in TOPICS]
    return Menu("Agent proxy appliance", entries, back="Esc log out")


def of_topic(topic: Topic) -> Menu:
    """Return the menu of one topic."""
    whole = len(topic.words) > 1
    entries = [
        Entry(_label(verb, whole=whole), verb.sense, Open("verb", verb)) for verb in verbs_of(topic)
    ]
    return Menu(topic.name, entries)


def _label(verb: Verb, *, whole: bool) -> str:
    """Return a verb's name as a menu has it, without what the menu's title says already."""
    name = verb.name if whole else verb.name.partition(" ")[2] or verb.name
    return name[:1].upper() + name[1:]
