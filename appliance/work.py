"""What goes on beside the console's drawing and reading of keys: each piece in a thread.

Shell. Neighbours: `verb` below, `console` above. Written to the journal as the command line does.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Final

from appliance import audit, commit
from appliance.dry_run import DryRun
from appliance.errors import Problem, Problems, Refusal, cause
from appliance.system import System
from appliance.verb import Context, Result, Values, Verb

__all__ = ["Task", "Work", "would"]

_LINES_KEPT: Final = 2000  # of a log that is watched for hours


def would(acting: DryRun) -> list[str]:
    """Return what would have been done; the journal of it is no news to an operator."""
    return [str(one) for one in acting.recorded if not one.what.startswith(commit.FOLDER)]


class Task:
    """A function in a thread. A defect of it is in the journal, and in `defect`: it ends alone."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self.defect: BaseException | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def join(self, wait_s: float) -> None:
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as defect:  # nothing is above a thread: whoever began it is told
            traceback.print_exc()
            self.defect = defect


class Work:
    """A verb under way. After `is_over` one of `result`, `problems` and `refusal` says its end.

    `may_be_left`: it changes nothing, so that nobody needs to wait for its end. `endures` is why
    it cannot be stopped, if it cannot.
    """

    def __init__(self, verb: Verb, values: Values, system: System, conf: str, *, dry: bool) -> None:
        self.verb = verb
        self.values = values
        self.dry = dry
        self.may_be_left = dry or not verb.changes
        self.endures = "" if self.may_be_left else verb.endures
        self.lines: list[str] = []
        self.result: Result | None = None
        self.problems: tuple[Problem, ...] = ()
        self._refusal = ""
        self.would: list[str] = []
        self._system = system
        self._conf = conf
        self._stopped = threading.Event()
        self._task = Task(verb.name, self._run)

    def start(self) -> None:
        self._task.start()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def is_over(self) -> bool:
        return self._task.is_over

    @property
    def refusal(self) -> str:
        """Why it was not done: it was refused, or it has a defect."""
        if self._task.defect is None:
            return self._refusal
        return f"A defect ended this ({type(self._task.defect).__name__}); the journal has more"

    def join(self, wait_s: float) -> None:
        self._task.join(wait_s)

    def _progress(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-_LINES_KEPT]

    def _endures(self, why: str) -> None:
        self.endures = why

    def _run(self) -> None:
        acting = DryRun(self._system) if self.dry else self._system
        stop = self._stopped.is_set
        context = Context(acting, self._conf, acting.now, self._progress, stop, self._endures)
        try:
            self.result = self.verb.run(context, self.values)
            if isinstance(acting, DryRun):
                self.would = would(acting)
        except Problems as problems:
            self.problems = problems.problems
        except Refusal as refusal:
            self._refusal = str(refusal).removesuffix(".")
        except OSError as error:
            self._refusal = cause(error)
        finally:
            self._note()

    def _note(self) -> None:
        if self.dry or not self.verb.changes:
            return
        end = "refused" if self.result is None else "failed" if self.result.code else "done"
        values = self.values if self.result is not None else {}
        audit.record(self._system, self.verb, audit.who(), values, end)
