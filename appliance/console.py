"""The text console: a stack of screens, keys in, effects out.

Shell. Neighbours: `terminal` draws, `work` runs verbs, `makers` makes the screens of settings and
verbs. It does nothing that no verb does, and nothing while it asks: values are gathered, shown
with the difference they make, and only then handed to the verb that the command line would run.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from typing import Final

from appliance import audit, commit, facts, login, makers, menu, overview, wizard
from appliance.editor import Editor, Fault
from appliance.effects import Back, Effect, Open, Repaint, Run, Screen, Submit
from appliance.entry import First, Login
from appliance.errors import Problems, Refusal
from appliance.form import Form
from appliance.screens import Menu, Question, Text, Working
from appliance.system import System
from appliance.terminal import Terminal
from appliance.verb import Context, Result, Values, Verb
from appliance.view import COLUMNS, ROWS, too_small
from appliance.work import Work

__all__ = ["VERB", "Console"]

_LOOK_EVERY_S: Final = 5.0
_IDLE_S: Final = 600.0
_AFTER_DEFECT_S: Final = 1.0


class Console:
    """What one terminal shows. `run` ends with the terminal, never with an error."""

    def __init__(self, system: System, conf: str, terminal: Terminal) -> None:
        self._system = system
        self._conf = conf
        self._terminal = terminal
        self._first = First()
        self._stack: list[Screen] = [self._first]
        self._work: Work | None = None
        self._begun = 0.0
        self._touched = time.monotonic()
        self._looked = 0.0
        self._look_took = 0.0
        self._look: threading.Thread | None = None
        self._pause = threading.Event()

    def run(self) -> None:
        while True:
            try:
                self._turn()
            except EOFError:
                return  # the terminal is gone: hung up, or the SSH connection ended
            except Exception:
                traceback.print_exc()
                self._leave()
                self._first.note = " A defect ended the last screen; the journal has more."
                self._terminal.repaint()
                self._pause.wait(_AFTER_DEFECT_S)  # the same again must not take the processor

    def _leave(self) -> None:
        """Log out. What still works in a thread comes to its end there, and is in the journal."""
        if self._work is not None:
            self._work.stop()
            self._work = None
        self._stack = [self._first]

    def _turn(self) -> None:
        self._watch()
        self._draw()
        for key in self._terminal.keys():
            self._touched = time.monotonic()
            if key == "ctrl l":
                self._carry_out(Repaint())
            else:
                self._carry_out(self._stack[-1].key(key))

    def _draw(self) -> None:
        size = self._terminal.size()
        fits = size.columns >= COLUMNS and size.rows >= ROWS
        self._terminal.draw(self._stack[-1].view(size) if fits else too_small(size), size)

    def _watch(self) -> None:
        """See to what goes on by itself: work that ended, a first screen that is old, idleness."""
        now = time.monotonic()
        if self._work is not None:
            self._attend(self._work, now)
        elif len(self._stack) == 1:
            self._look_again(now)
        elif now - self._touched > _IDLE_S:
            self._leave()
        elif len(self._stack) == 2 and isinstance(self._stack[1], Menu):
            self._ask_about_waiting()

    def _ask_about_waiting(self) -> None:
        """Before anything else, a change that nobody has confirmed: of another terminal, or of
        this one before the change cut it off."""
        found = commit.waiting(self._system)
        if found is not None:
            lines = ["It was made from another terminal, or before you were cut off."]
            self._stack.append(makers.countdown(found.title, lines, self._system))

    def _look_again(self, now: float) -> None:
        if self._look is not None and self._look.is_alive():
            self._look_took = now - self._looked
            return
        # Where a look takes seconds, as on an emulated processor, the machine has better to do.
        if now - self._looked >= _LOOK_EVERY_S + 3 * self._look_took:
            self._looked, self._look_took = now, 0.0
            self._look = threading.Thread(target=self._gather, name="look", daemon=True)
            self._look.start()

    def _gather(self) -> None:
        try:
            self._show_first()
        except Exception:
            traceback.print_exc()
            # What is shown is old, and whoever reads it must know.
            self._first.note = " A defect: this is not up to date; the journal has more."

    def _show_first(self) -> None:
        found = facts.gather(self._system, self._conf)
        waits = commit.waiting(self._system)
        self._first.enter = "log in" if wizard.is_set_up(self._system) else "set it up"
        self._first.lines = [*wizard.lines(self._system), *overview.lines(found)]
        if waits is not None:
            text = f"WARNING  {waits.title} is not confirmed yet: log in to keep it or take it back"
            self._first.lines = [text, *self._first.lines]
        stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._system.now()))
        self._first.note = f" as of {stamp}"

    # Effects.

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Back):
            del self._stack[max(1, len(self._stack) - 1 - effect.further) :]
        elif isinstance(effect, Repaint):
            self._terminal.repaint()
        elif isinstance(effect, Submit):
            self._submitted(effect)
        elif isinstance(effect, Run):
            self._begin(effect)
        elif isinstance(effect, Open):
            self._open(effect)

    def _open(self, effect: Open) -> None:
        context = Context(self._system, self._conf)
        try:
            made = makers.screen(effect, context)
        except Problems as problems:
            made = Text("Not now", [str(one) for one in problems.problems])
        except (Refusal, OSError) as refusal:
            made = Text("Not now", [str(refusal)])
        if isinstance(made, Run):
            self._begin(made)
        else:
            self._stack.append(made)

    def _submitted(self, effect: Submit) -> None:
        asked = self._stack[-1]
        assert isinstance(asked, Login)
        asked.note = " working: comparing"
        self._draw()
        try:
            if effect.what == "new password":
                login.set_password(self._system, effect.text)
            else:
                login.attempt(self._system, effect.text)
        except Problems as problems:
            asked.note = " ".join(f"{one.message}. {one.remedy}" for one in problems.problems)
        except Refusal as refusal:
            asked.note = f" {refusal}."
            self._audit("log-in refused")
        except OSError as error:
            asked.note = f" It cannot be kept: {error.strerror}. Mend the disk."
        else:
            self._audit("password chosen" if effect.what == "new password" else "logged in")
            self._stack = [self._first, menu.main()]

    def _audit(self, result: str) -> None:
        audit.record(self._system, VERB, audit.who(), {}, result)

    def _begin(self, run: Run) -> None:
        """Show what a verb would do before it does it; then let it, in a thread."""
        verb = run.verb
        if verb.dangerous and not run.sure:
            lines = [f"{verb.sense[:1].upper()}{verb.sense[1:]}.", verb.more]
            self._stack.append(Question(verb.name, lines, run._replace(sure=True)))
            return
        dry = verb.changes and not run.sure
        self._work = Work(verb, run.values, self._system, self._conf, dry=dry)
        self._begun = time.monotonic()
        title = f"{verb.name}: what it would change" if dry else verb.name
        self._stack.append(Working(title, can_stop="follow" in run.values))
        self._draw()
        self._work.start()

    def _attend(self, work: Work, now: float) -> None:
        shown = self._stack[-1]
        assert isinstance(shown, Working)
        shown.lines = list(work.lines)
        shown.seconds = int(now - self._begun)
        if shown.can_stop and now - self._touched > _IDLE_S:
            self._leave()  # a log that somebody left on the screen
            return
        if shown.stopped:
            work.stop()
        if work.is_over:
            self._work = None
            self._touched = now
            self._stack.pop()
            self._ended(work)

    def _ended(self, work: Work) -> None:
        if work.problems and self._stack and self._told(work):
            return
        if work.problems:
            self._stack.append(Text(work.verb.name, [str(one) for one in work.problems]))
        elif work.refusal:
            self._stack.append(Text(work.verb.name, [f"{work.refusal}."]))
        elif work.result is not None:
            self._said(work, work.result)

    def _told(self, work: Work) -> bool:
        """Show what was refused where it was typed."""
        asked = self._stack[-1]
        if isinstance(asked, Form):
            asked.refuse(work.problems)
            return True
        if isinstance(asked, Editor):
            asked.faults = [Fault(0, str(one)) for one in work.problems]
            return True
        return False

    def _said(self, work: Work, result: Result) -> None:
        if work.dry:
            sure = Run(work.verb, work.values, sure=True)
            # What would be written has been shown as a difference already.
            lines = [*result.lines, *(one for one in work.would if "would write" not in one)]
            title = f"{work.verb.name}: what it would change"
            self._stack.append(Text(title, lines, sure, "Enter do it"))
            return
        while isinstance(self._stack[-1], Text | Question | Form | Editor | makers.Countdown):
            self._stack.pop()  # what led here is done with
        lines = [*work.lines, *result.lines]
        if isinstance(result.data, dict) and result.data.get("confirmWithinSeconds"):
            self._stack.append(makers.countdown(work.verb.name, lines, self._system))
        else:
            big = work.verb.name == "platform register-info"
            self._stack.append(Text(work.verb.name, lines or ["Done."], big=big))


def _run(context: Context, values: Values) -> Result:
    if not os.isatty(0) or not os.isatty(1):
        raise Refusal("The console needs a terminal. Every item of it is a verb, too: --help")
    with Terminal().open() as terminal:
        Console(context.system, context.conf, terminal).run()
    return Result()


VERB: Final = Verb(
    "console",
    "the text console, on this terminal",
    _run,
    examples=("agent-proxy-appliance console",),
    more="What tty1, the serial line and the user operator get. It asks for its own password.",
)
