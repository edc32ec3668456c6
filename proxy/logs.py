"""The event log: one line per thing that an operator acts on, to standard error.

Shell. Neighbours: everything that logs. Access lines are not written here but by `telemetry`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class _Plain(logging.Formatter):
    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", super().format(record))


class _Json(logging.Formatter):
    def __init__(self, worker: int) -> None:
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


def start(level: str, log_format: str, worker: int) -> None:
    """Send events of `level` and above to standard error; called again after a reload."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(_Json(worker))
    else:
        pattern = f"%(asctime)s.%(msecs)03dZ %(levelname)s worker={worker} %(message)s"
        handler.setFormatter(_Plain(pattern, "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its word is in our errors
