"""The console while nobody is there: a shell of 1 MiB waits for a key, in the place of 30 MiB.

Shell. Neighbours: `console` decides that nobody is there, leaves its screen standing and calls
`begin`. What it had shown stays on the terminal, with the time it was true at. The shell starts the
console again when a key is pressed, which counts as if the console had been there, and from time to
time, for one look: if all is well it rests again, if not it stays and says so.

bash, since its `read` waits for one key and a time at once; dash's cannot.
"""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple, NoReturn

__all__ = ["NOTE", "Woken", "begin", "command", "may_begin", "woken"]

_LOOK_EVERY_S: Final = 300
NOTE: Final = f"; looks again every {_LOOK_EVERY_S // 60} min, or when a key is pressed"
_VARIABLE: Final = "AGENT_PROXY_CONSOLE_WOKEN"
_BASH: Final = "/bin/bash"
# Over 128: time was up. Any other failure: the terminal is gone, and its unit starts anew.
_SCRIPT: Final = f"""
IFS= read -r -s -N 1 -t "$1" key
code=$?
shift
if [ $code -gt 128 ]; then
    export {_VARIABLE}=time
elif [ $code = 0 ]; then
    printf '\\033[H\\033[K Agent proxy appliance: one moment'
    export {_VARIABLE}="$(LC_ALL=C printf %d "'$key")"
else
    exit 0
fi
exec "$@"
"""


class Woken(NamedTuple):
    """Why this console was started: `keys` are the codes of what was pressed."""

    by_time: bool = False
    keys: tuple[int, ...] = ()


def may_begin() -> bool:
    """Return whether systemd has started this: a console over SSH ends with its connection."""
    return os.getppid() == 1


def woken() -> Woken:
    """Return why this console was started, once."""
    said = os.environ.pop(_VARIABLE, "")
    if said == "time":
        return Woken(by_time=True)
    # A key of several bytes: the rest of them follows, and means nothing without the first.
    return Woken(keys=(int(said),)) if said.isdigit() and 0 < int(said) < 127 else Woken()


def command(seconds: int, *console: str) -> list[str]:
    """Return what waits on this terminal and then starts `console`."""
    return [_BASH, "-c", _SCRIPT, "rest", str(seconds), *console]


def begin() -> NoReturn:
    """Turn this process into what waits. Raises: OSError."""
    os.execv(_BASH, command(_LOOK_EVERY_S, sys.argv[0], "console"))
