"""One line in the journal for each verb that changed something: who, what, with what end.

Shell. Neighbours: `cli` and the console call `record` after a verb; `verb` says which values are
secret. `journalctl -t agent-proxy-audit` shows them; a syslog target gets them like all lines.
Logins are in the same journal: those of SSH by sshd, those of the console by `login` through here.

    verb="network set" who="operator (10.1.2.3)" result=done name=eth0 addresses=10.1.2.9/24
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from appliance.system import System
from appliance.verb import Verb

__all__ = ["IDENTIFIER", "line", "record", "who"]

IDENTIFIER: Final = "agent-proxy-audit"
_VALUE_LIMIT: Final = 200
# Texts of files: a certificate or a whole proxy.ini says nothing on one line; it may hold secrets.
_NEVER_WRITTEN: Final = ("secret", "lines")


def record(system: System, verb: Verb, who: str, values: Mapping[str, Any], result: str) -> None:
    """Write the line. A journal that takes no line stops no verb; the console shows the change."""
    text = line(verb, who, values, result)
    system.run(("logger", "--tag", IDENTIFIER, "--priority", "auth.notice", "--", text))


def line(verb: Verb, who: str, values: Mapping[str, Any], result: str) -> str:
    """Return the text: values that were given, without secrets and the contents of files."""
    # Any: what an argument's kind says.
    words = [f"verb={_quoted(verb.name)}", f"who={_quoted(who)}", f"result={_quoted(result)}"]
    for argument in verb.arguments:
        value = values.get(argument.name)
        if value is None or value is False:
            continue
        shown = "set" if argument.kind in _NEVER_WRITTEN else _text(value)
        words.append(f"{argument.name}={_quoted(shown)}")
    return " ".join(words)


def who() -> str:
    """Return who runs this process: the user behind sudo, and from where, if by SSH."""
    name = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
    origin = os.environ.get("SSH_CONNECTION", "").split()
    if origin:
        return f"{name} ({origin[0]})"
    unit = "unit" if os.environ.get("INVOCATION_ID") else ""
    return f"{name} ({unit})" if unit else name


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _quoted(text: str) -> str:
    """Return text that can neither end the line nor look like another field."""
    safe = "".join(one if one.isprintable() else "?" for one in text)[:_VALUE_LIMIT]
    if safe and not set(safe) & set(" =\"'"):
        return safe
    return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'
