"""The text console: a stack of screens, keys in, effects out.

Shell. Neighbours: `terminal` draws, `work` runs verbs, `makers` makes the screens of settings and
verbs. It does nothing that no verb does, and nothing while it asks: values are gathered, shown
with the difference they make, and only then handed to the verb that the command line would run.
"""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from collections.abc import Iterable
from typing import Final

from appliance import audit, draft, ends, facts, login, makers, menu, rest, wizard
from appliance.editor import Editor, Fault
from appliance.effects import Back, Effect, Forget, Open, Repaint, Run, Screen, Submit
from appliance.entry import First, Login
from appliance.errors import Problems, Refusal
from appliance.form import Form
from appliance.screens import Menu, Question, Text, Working
from appliance.system import System
from appliance.terminal import Terminal
from appliance.verb import Context, Result, Values, Verb
from appliance.view import COLUMNS, ROWS, noted, too_small
from appliance.work import Task, Work

__all__ = ["VERB", "Console"]

_LOOK_EVERY_S: Final = 5.0
_IDLE_S: Final = 600.0
_WARN_S: Final = 60.0  # of these: a countdown, and any key stays
_AFTER_DEFECT_S: Final = 1.0
_REST_S: Final = 60.0  # without a key, and all is well: nobody is there
_LAST_S: Final = 90.0  # the terminal is gone: what works may come to its end, or be taken back


class Console:
    """What one terminal shows. `run` ends with the terminal, never with an error; or, where it
    may rest (`rest_s` since the last key), when nobody is there and nothing is to be said."""

    def __init__(
        self, system: System, conf: str, terminal: Terminal, *, rest_s: float = math.inf
    ) -> None:
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
        self._look: Task | None = None
        self._pause = threading.Event()
        self._drafts = draft.Keeper(system)
        self._offered = False
        self._rest_s = rest_s
        self._well = False

    def run(self) -> bool:
        """Return whether it rests: what was drawn last says so. Else the terminal is gone."""
        while True:
            try:
                self._turn()
                if self._may_rest():
                    self._first.note += rest.NOTE
                    self._draw()
                    return True
            except EOFError:  # the terminal is gone: hung up, or the SSH connection ended
                work = self._work
                self._leave()
                if work is not None:
                    work.join(_LAST_S)
                return False
            except Exception:  # the console loop: a defect ends a screen, never the console
                traceback.print_exc()
                self._leave()
                self._first.note = " A defect ended the last screen; the journal has more."
                self._terminal.repaint()
                self._pause.wait(_AFTER_DEFECT_S)  # the same again must not take the processor

    def _may_rest(self) -> bool:
        """Whoever is logged in, a fault and a look that is under way keep it awake."""
        if len(self._stack) > 1 or self._work is not None or not self._well:
            return False
        looks = self._look is not None and not self._look.is_over
        return not looks and time.monotonic() - self._touched >= self._rest_s

    def _leave(self) -> None:
        """Log out. What still works in a thread comes to its end there, and is in the journal."""
        if self._work is not None:
            self._work.stop()
            self._work = None
        try:
            self._drafts.let_go(draft.edited(self._stack))
            form = draft.filled(self._stack)
            if form is not None and form.origin is not None:
                what, of = form.origin
                draft.keep_form(self._system, form, what, of.name if what == "verb" else of)
        except OSError:
            traceback.print_exc()  # a full disk: nobody can be logged in for ever for that
        self._stack = [self._first]
        self._offered = False

    def _turn(self) -> None:
        self._watch()
        self._draw()
        for key in self._terminal.keys():
            left_s = self._left_s()
            self._touched = time.monotonic()
            if key == "ctrl l":
                self._carry_out(Repaint())
            elif left_s > _WARN_S:  # else it only says that somebody is there
                self._carry_out(self._stack[-1].key("esc" if key == "ctrl c" else key))

    def _draw(self) -> None:
        size = self._terminal.size()
        if size.columns < COLUMNS or size.rows < ROWS:
            self._terminal.draw(too_small(size), size)
            return
        view = self._stack[-1].view(size)
        left_s = self._left_s()
        if left_s <= _WARN_S:
            kept = "; the edited proxy.ini is kept" if draft.edited(self._stack) else ""
            kept = kept or (
                "; what is typed is kept, but for secrets" if draft.filled(self._stack) else ""
            )
            view = noted(view, f" Log-out in {max(0, left_s):.0f} s{kept}. Any key: stay")
        self._terminal.draw(view, size)

    def _left_s(self) -> float:
        """Return how long until whoever is logged in and presses nothing is logged out."""
        if len(self._stack) == 1 or (self._work is not None and not self._work.may_be_left):
            return _IDLE_S
        return _IDLE_S - (time.monotonic() - self._touched)

    def _watch(self) -> None:
        """See to what goes on by itself: work that ended, a first screen that is old, idleness."""
        now = time.monotonic()
        if self._left_s() <= 0:
            self._leave()
        if self._work is not None:
            self._attend(self._work, now)
        elif len(self._stack) == 1:
            self._look_again(now)
        else:
            self._keep_draft(now)
            top = self._stack[-1]
            if isinstance(top, Menu):
                self._carry_out(top.tick(now))
            if len(self._stack) == 2 and isinstance(top, Menu):
                self._ask()

    def _ask(self) -> None:
        """Before anything else: a change that nobody has confirmed, of another terminal or of
        this one before the change cut it off; and a draft that was left."""
        found, _ = ends.waiting(self._system)
        if found is not None:
            lines = ["It was made from another terminal, or before you were cut off."]
            self._stack.append(ends.countdown(found.title, lines, self._system))
        elif not self._offered:
            self._offered = True
            kept = draft.newest(self._system)
            if kept is not None:
                context = Context(self._system, self._conf)
                self._stack.append(ends.offer(kept, context))

    def _keep_draft(self, now: float) -> None:
        edited = draft.edited(self._stack)
        try:
            self._drafts.attend(edited, now)
        except OSError as error:
            if edited is not None:
                edited.note = (
                    f" No draft can be kept: {error.strerror}. Apply it, or mend the disk."
                )

    def _look_again(self, now: float) -> None:
        if self._look is not None and not self._look.is_over:
            self._look_took = now - self._looked
            return
        if self._look is not None and self._look.defect is not None:
            # What is shown is old, and whoever reads it must know.
            self._first.note = " A defect: this is not up to date; the journal has more."
        # Where a look takes seconds, as on an emulated processor, the machine has better to do.
        if now - self._looked >= _LOOK_EVERY_S + 3 * self._look_took:
            self._looked, self._look_took = now, 0.0
            self._look = Task("look", self._show_first)
            self._look.start()

    def _show_first(self) -> None:
        found = facts.gather(self._system, self._conf)
        self._first.enter = "log in" if wizard.is_set_up(self._system) else "set it up"
        self._first.lines = ends.first_lines(self._system, found)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self._system.now()))
        self._first.note = f" as of {stamp}"
        self._well = ends.is_well(self._system, found)

    # Effects.

    def _carry_out(self, effect: Effect) -> None:
        if isinstance(effect, Back):
            del self._stack[max(1, len(self._stack) - 1 - effect.further) :]
        elif isinstance(effect, Repaint):
            self._terminal.repaint()
        elif isinstance(effect, Submit):
            self._submitted(effect)
        elif isinstance(effect, Forget):
            draft.drop(self._system, effect.path)
            self._stack.pop()
        elif isinstance(effect, Run):
            self._begin(effect)
        elif isinstance(effect, Open):
            self._open(effect)

    def _open(self, effect: Open) -> None:
        context = Context(self._system, self._conf)
        try:
            made = makers.screen(effect, context)
            if isinstance(effect.of, draft.FormDraft):
                draft.drop(self._system, effect.of.path)  # it is kept again when it is left again
        except Problems as problems:
            self._refuse(map(str, problems.problems))
            return
        except (Refusal, OSError) as refusal:
            self._refuse([f"{refusal}."])
            return
        if isinstance(made, Run):
            self._begin(made)
            return
        if effect.what == "draft":
            if isinstance(effect.of, draft.Draft):
                self._drafts.take(effect.of)
            self._stack.pop()
        elif isinstance(made, Form) and effect.what != "login":
            made.origin = effect  # before the log-in anybody could read what was typed
        self._stack.append(made)

    def _refuse(self, why: Iterable[str]) -> None:
        self._stack.append(Text("Not now", [menu.pointed(one) for one in why]))

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
            said = " ".join(f"It {one.message}. {one.remedy}" for one in problems.problems)
            asked.note = f" {said}"
        except Refusal as refusal:
            asked.note = f" {refusal}."
            self._audit("log-in refused")
        except OSError as error:
            asked.note = f" It cannot be kept: {error.strerror}. Mend the disk."
        else:
            self._audit("password chosen" if effect.what == "new password" else "logged in")
            host = (self._system.read("/proc/sys/kernel/hostname") or b"").decode().strip()
            self._stack = [self._first, menu.main(host)]

    def _audit(self, result: str) -> None:
        audit.record(self._system, VERB, audit.who(), {}, result)

    def _begin(self, run: Run) -> None:
        """Show what a verb would do before it does it; then let it, in a thread."""
        verb = run.verb
        sure = run.sure or verb.name in menu.AT_ONCE
        if verb.dangerous and not sure and (run.seen or not verb.arguments):
            self._stack.append(ends.question(run))
            return
        dry = verb.changes and not sure
        self._work = Work(verb, run.values, self._system, self._conf, dry=dry)
        self._begun = time.monotonic()
        title = f"{menu.titled(verb)}{': what it would change' if dry else ''}"
        self._stack.append(Working(title, ends.stops(self._work)))
        self._draw()
        self._work.start()

    def _attend(self, work: Work, now: float) -> None:
        shown = self._stack[-1]
        assert isinstance(shown, Working)
        shown.lines = list(work.lines)
        shown.seconds = int(now - self._begun)
        shown.endures = work.endures
        if shown.stopped:
            work.stop()
        if work.is_over or (shown.stopped and work.may_be_left):
            self._work = None
            self._touched = now
            self._stack.pop()
            if work.is_over:
                self._ended(work)
            elif not work.dry:
                self._stack.append(ends.left(work))

    def _ended(self, work: Work) -> None:
        if work.problems and self._told(work):
            return
        if work.dry and work.result is not None:
            self._stack.append(ends.preview(work, work.result))
            return
        if work.result is not None:
            self._done_with(work, work.result)
        self._stack.append(ends.told(work, self._system))

    def _told(self, work: Work) -> bool:
        """Show what was refused where it was typed."""
        asked = next((one for one in reversed(self._stack) if isinstance(one, Form | Editor)), None)
        if asked is None:
            return False
        del self._stack[self._stack.index(asked) + 1 :]
        if isinstance(asked, Form):
            asked.refuse(work.problems)
        else:
            asked.faults = [Fault(0, str(one)) for one in work.problems]
        return True

    def _done_with(self, work: Work, result: Result) -> None:
        """Take away what led here; what was typed stays where it must be typed otherwise."""
        done: tuple[type, ...] = (Text, Question, ends.Countdown)
        if not result.code or not work.verb.changes:
            done = (*done, Form, Editor)
            waits = isinstance(result.data, dict) and result.data.get("confirmWithinSeconds")
            self._drafts.applied(waits=bool(waits))
        while isinstance(self._stack[-1], done):
            self._stack.pop()
        if work.verb.name == "confirm":
            self._drafts.confirmed()
        self._offered = self._offered and work.verb.name != "rollback"


def _run(context: Context, values: Values) -> Result:
    if not os.isatty(0) or not os.isatty(1):
        raise Refusal("The console needs a terminal. Every item of it is a verb, too: --help")
    woken = rest.woken()
    rest_s = (0.0 if woken.by_time else _REST_S) if rest.may_begin() else math.inf
    with Terminal(woken.keys).open() as terminal:
        if Console(context.system, context.conf, terminal, rest_s=rest_s).run():
            terminal.leave_as_it_is()
            rest.begin()
    # Where the terminal is gone, what is left to be written to it is no error.
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return Result()


VERB: Final = Verb(
    "console",
    "the text console, on this terminal",
    _run,
    examples=("agent-proxy-appliance console",),
    more="What tty1, the serial line and the user operator get. It asks for its own password.",
)
