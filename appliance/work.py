"""One verb at work in a thread, so that the console goes on drawing and reading keys.

Shell. Neighbours: `verb` below, `console` above. Written to the journal as the command line does.
"""

from __future__ import annotations

import threading
import traceback
from typing import Final

from appliance import audit, commit
from appliance.dry_run import DryRun
from appliance.errors import Problem, Problems, Refusal
from appliance.system import System
from appliance.verb import Context, Result, Values, Verb

__all__ = ["Work", "would"]

_LINES_KEPT: Final = 2000  # of a log that is watched for hours


def would(acting: DryRun) -> list[str]:
    """Return what would have been done; the journal of it is no news to an operator."""
    return [str(one) for one in acting.recorded if not one.what.startswith(commit.FOLDER)]


class Work:
    """A verb under way. After `is_over` one of `result`, `problems` and `refusal` says its end."""

    def __init__(self, verb: Verb, values: Values, system: System, conf: str, *, dry: bool) -> None:
        self.verb = verb
        self.values = values
        self.dry = dry
        self.lines: list[str] = []
        self.result: Result | None = None
        self.problems: tuple[Problem, ...] = ()
        self.refusal = ""
        self.would: list[str] = []
        self._system = system
        self._conf = conf
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=verb.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def _progress(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-_LINES_KEPT]

    def _run(self) -> None:
        acting = DryRun(self._system) if self.dry else self._system
        context = Context(acting, self._conf, acting.now, self._progress, self._stopped.is_set)
        try:
            self.result = self.verb.run(context, self.values)
            if isinstance(acting, DryRun):
                self.would = would(acting)
        except Problems as problems:
            self.problems = problems.problems
        except Refusal as refusal:
            self.refusal = str(refusal)
        except BaseException as defect:
            traceback.print_exc()  # to the journal: a defect of the verb, which ends with it
            self.refusal = f"A defect ended this ({type(defect).__name__}); the journal has more"
        self._note()

    def _note(self) -> None:
        if self.dry or not self.verb.changes:
            return
        end = "refused" if self.result is None else "failed" if self.result.code else "done"
        values = self.values if self.result is not None else {}
        audit.record(self._system, self.verb, audit.who(), values, end)
