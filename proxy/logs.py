"""The event log: one line per thing that an operator acts on, to standard error.

Shell. Neighbours: everything that logs. Access lines are not written here but by `telemetry`.

Nothing waits for whoever reads the log: `outlet` says why.

A traceback is written without what its exceptions say: the text of a ValueError or a KeyError
quotes the value, which may be a token or a body. Frames show our code only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import resource
import sys
import time
import traceback
from types import TracebackType
from typing import Any, Final

from proxy.outlet import Outlet

_STDERR: Final = 2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Events(logging.Handler):
    """Writes to standard error, and says afterwards how much could not be written."""

    def __init__(self) -> None:
        super().__init__()
        self._outlet = Outlet(_STDERR)

    def emit(self, record: logging.LogRecord) -> None:
        self._outlet.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")

    def flush(self) -> None:
        if self._outlet.flush() and (lost := self._outlet.untold()):
            logging.getLogger(__name__).warning("%d lines of this log were lost", lost)


class _Discreet(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # Any: logging has a type of its own for it
        return "".join(frames(ei[1])).rstrip("\n")


class _Plain(_Discreet):
    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", super().format(record))


class _Json(_Discreet):
    def __init__(self, worker: int | str) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "worker": self._worker,
            "level": record.levelname,
            "message": record.getMessage(),
        }
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content)


def frames(error: BaseException | None) -> list[str]:
    """Return the lines of a traceback, each exception by its type alone."""
    if error is None:
        return []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [*frames(before), "and after that:\n"] if before is not None else []
    lines.append("Traceback (most recent call last; what exceptions say is left out):\n")
    lines += traceback.format_tb(error.__traceback__)
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}\n")
    return lines


def uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Write what nobody caught; for sys.excepthook."""
    with contextlib.suppress(BlockingIOError):
        sys.stderr.write("".join(frames(error.with_traceback(where))))


def uncaught_in_greenlet(
    context: object, kind: type[BaseException], error: Any, where: TracebackType | None
) -> None:
    """Log what ended a greenlet; for gevent's hub, which would show the greenlet's arguments."""
    logging.getLogger(__name__).error("a defect ended a greenlet", exc_info=error)


def start(level: str, log_format: str, worker: int | str) -> None:
    """Send events of `level` and above to standard error; called again after a reload."""
    root = logging.getLogger()
    # Of a reload: what the one before could not write yet must not be forgotten.
    handler = next((one for one in root.handlers if isinstance(one, _Events)), None) or _Events()
    if log_format == "json":
        handler.setFormatter(_Json(worker))
    else:
        pattern = f"%(asctime)s.%(msecs)03dZ %(levelname)s worker={worker} %(message)s"
        handler.setFormatter(_Plain(pattern, "%Y-%m-%dT%H:%M:%S"))
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its word is in our errors


def flush() -> None:
    """Write what is left to be written, as far as there is room; called every second."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def leave_no_core() -> None:
    """Keep bodies, secrets and keys out of core dumps, files as well as those piped to a program.

    The kernel ignores the limit where core_pattern is a pipe; the filter leaves no memory in it.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/coredump_filter", "w", encoding="ascii") as file:
            file.write("0")
    except OSError as error:
        text = "core dumps may hold secrets: coredump_filter: %s"
        logging.getLogger(__name__).warning(text, error.strerror)
