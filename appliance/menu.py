"""What is in which list of the console: every verb, by topic.

Pure. Neighbours: `verbs` lists what there is, `screens.Menu` shows it. A verb that no topic takes
would be lost, so a test compares the two.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from appliance.effects import Open
from appliance.screens import Entry, Menu
from appliance.verb import Verb
from appliance.verbs import VERBS

__all__ = [
    "AT_ONCE",
    "HIDDEN",
    "TOPICS",
    "Topic",
    "main",
    "of_topic",
    "pointed",
    "titled",
    "verbs_of",
]


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
# What these would do is no difference, or one that the second time comes out otherwise: a key, a
# request, a file with another name.
AT_ONCE: Final = frozenset({"bundle", "backup create", "certificate request", "password set"})
_NAMES: Final = "|".join(sorted((verb.name for verb in VERBS), key=len, reverse=True))
_COMMAND: Final = re.compile(rf"`(?:agent-proxy-appliance )?({_NAMES})([^`]*)`")
_BARE: Final = re.compile(rf"^(?:agent-proxy-appliance )?({_NAMES})\b")


def verbs_of(topic: Topic) -> list[Verb]:
    """Return a topic's verbs, in the order of its words."""
    return [
        verb
        for word in topic.words
        for verb in VERBS
        if verb.words[0] == word and verb.name not in HIDDEN
    ]


def main(host: str = "") -> Menu:
    """Return the menu that one sees after the log-in, with the name of this machine."""
    entries = [Entry(one.name, one.sense, Open("topic", one)) for one in TOPICS]
    title = f"Agent proxy appliance {host}".rstrip()
    return Menu(title, entries, back="Esc log out")


def titled(verb: Verb) -> str:
    return f"{verb.name[:1].upper()}{verb.name[1:]}"


def pointed(text: str) -> str:
    """Return a text that names verbs as commands so that it names their places in the menu."""
    text = _COMMAND.sub(lambda found: _place(found[1]) + found[2], text)
    if text.startswith("WARNING"):
        said, colon, remedy = text.rpartition(": ")
        return said + colon + _BARE.sub(lambda found: _place(found[1]), remedy)
    return text


def _place(name: str) -> str:
    """Return "menu 2.3 settings set"."""
    for number, topic in enumerate(TOPICS, 1):
        for inner, verb in enumerate(verbs_of(topic), 1):
            if verb.name == name:
                return f"menu {number}.{inner} {name}"
    return name


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
