"""Logs that go on when their rotation fails; supervisord loads it ([rpcinterface:rotation]).

Shell; the only file that knows how supervisor writes logs. Neighbours: `outlet` is the other end of
the pipes. An [rpcinterface] is supervisor's own way to be extended; this one answers no call.

supervisor 4.3 closes a log before it renames it, and lets the error of a rename leave: its main
loop then never reads that process again. Lines are lost until the process is replaced, although the
directory may be well a minute later; of its own log it would end. Here a log whose rotation fails
begins anew in its place: what it held is lost, what comes is written, and it stays as bounded as
it was. Next time it is full rotation is tried again.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from supervisor import loggers

__all__ = ["outlive"]


class _Nothing:
    """What supervisord lists for calls: none."""


def outlive(supervisord: object, **settings: str) -> _Nothing:
    """Replace what rotates logs in this process; called by supervisord before it starts any."""
    loggers.RotatingFileHandler.doRollover = _rotate
    return _Nothing()


def _rotate(handler: Any) -> None:  # Any: supervisor has no types
    if handler.maxBytes <= 0 or handler.stream.tell() < handler.maxBytes:
        return
    try:
        _shift(handler)
        fresh = open(handler.baseFilename, "wb")
    except OSError as error:
        # The file that is open may have no name any more; it can be emptied all the same.
        handler.stream.seek(0)
        handler.stream.truncate()
        said = f"{handler.baseFilename} cannot be rotated: {error.strerror}; it begins anew\n"
        sys.stderr.write(said)  # the journal, or wherever supervisord's output goes
        return
    handler.stream.close()
    handler.stream = fresh


def _shift(handler: Any) -> None:
    """Rename the file and those before it, the oldest away. Raises: OSError."""
    names = [handler.baseFilename]
    names += [f"{handler.baseFilename}.{number + 1}" for number in range(handler.backupCount)]
    for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
        if os.path.exists(newer):
            handler.removeAndRename(newer, older)
