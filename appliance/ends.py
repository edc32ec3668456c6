"""The screens of a verb's way: may it be done, what would it change, what came of it.

Shell (the countdown reads what waits). Neighbours: `telling` puts lines in order, `work` has run
the verb, `console` shows these.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from appliance import commit, menu, overview, settings_verbs, telling, wizard
from appliance.draft import Draft, FormDraft
from appliance.effects import Back, Forget, Open, Run, Screen
from appliance.errors import Problems, Refusal
from appliance.facts import Facts
from appliance.screens import Countdown, Entry, Menu, Question, Text
from appliance.system import System
from appliance.verb import Context, Result
from appliance.verbs import named
from appliance.work import Work

__all__ = [
    "Countdown",
    "countdown",
    "first_lines",
    "is_well",
    "left",
    "offer",
    "preview",
    "question",
    "stops",
    "told",
    "waiting",
]

_LAST: Final = 1 << 20


def question(run: Run) -> Question:
    """Return what asks before something that cannot be undone."""
    verb = run.verb
    lines = [f"{verb.sense[:1].upper()}{verb.sense[1:]}.", verb.more]
    return Question(menu.titled(verb), [one for one in lines if one], run._replace(sure=True))


def stops(work: Work) -> str:
    """Return what Esc comes to while it works, in the line of keys."""
    if work.dry:
        return "leave it: nothing is changed yet"
    if work.may_be_left:
        return "end it"
    return "stop: what was begun is taken back"


def left(work: Work) -> Text:
    """Return what a verb that changes nothing had said when somebody wanted no more."""
    lines = [menu.pointed(line) for line in work.lines] or ["Stopped before it said anything."]
    return Text(menu.titled(work.verb), lines, note=" Stopped: there may be more.", top=_LAST)


def preview(work: Work, result: Result) -> Text:
    """Return what a dry run found, with Enter to do it."""
    title = f"{menu.titled(work.verb)}: what it would change"
    if telling.changes_nothing(result.lines, work.would):
        return Text(title, ["It is so already: nothing would be changed."])
    run = Run(work.verb, work.values, sure=not work.verb.dangerous, seen=True)
    said: Sequence[str] = result.lines
    if work.verb.name == "first-boot run" and work.values.get("answers"):
        said = ["This machine is set up with:", *wizard.shown(work.values)]
    lines = telling.before(said, work.would)
    return Text(title, [menu.pointed(line) for line in lines], run, "Enter do it")


def told(work: Work, system: System) -> Screen:
    """Return how a verb ended."""
    title, result = menu.titled(work.verb), work.result
    if work.problems:
        return Text(title, [menu.pointed(str(one)) for one in work.problems])
    if result is None:
        return Text(title, [menu.pointed(f"{work.refusal}.")])
    data = result.data if isinstance(result.data, dict) else {}
    if data.get("confirmWithinSeconds"):
        return countdown(str(data["title"]), telling.after(result.lines), system)
    steps = [] if "differences" in data else work.lines
    shown = [menu.pointed(line) for line in telling.with_steps(result.lines, steps)]
    big = work.verb.name == "platform register-info"
    return Text(title, shown or ["Done."], big=big)


def countdown(title: str, lines: Sequence[str], system: System) -> Countdown:
    """Return the screen of a change that waits to be confirmed."""

    def left_s() -> float | None:
        found, _ = waiting(system)
        return found.left_s if found is not None else None

    title = f"{title[:1].upper()}{title[1:]}: keep it?"
    shown = [menu.pointed(line) for line in lines]
    return Countdown(title, shown, named("confirm"), named("rollback"), left_s)


def waiting(system: System) -> tuple[commit.Waiting | None, str]:
    """Return the change that waits; and what is wrong where that cannot be told."""
    try:
        return commit.waiting(system), ""
    except Problems as problems:
        return None, str(problems.problems[0])


def first_lines(system: System, found: Facts) -> list[str]:
    """Return the first screen: what waits, what is wrong and what to do, all there is to know."""
    waits, damage = waiting(system)
    lines = [f"WARNING  {damage}"] if damage else []
    if waits is not None:
        lines.append(f"WARNING  {waits.title} is not confirmed: log in to keep it or take it back")
    known = overview.lines(found)
    if not wizard.is_set_up(system):  # what it still lacks is what will be asked for
        known = [line for line in known if not line.startswith("WARNING")]
    lines += [*wizard.lines(system), *known]
    return [menu.pointed(line) for line in lines]


def is_well(system: System, found: Facts) -> bool:
    """Return whether the first screen can be left alone: the node serves, and no change waits."""
    waits, damage = waiting(system)
    serves = bool((found.status or {}).get("ready"))
    return wizard.is_set_up(system) and serves and waits is None and not damage


def offer(kept: Draft | FormDraft, context: Context) -> Menu:
    """Return what asks about a draft that was left."""
    stamp = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(kept.when))
    title, about = (
        "Draft of proxy.ini",
        [f"A draft of proxy.ini is kept: somebody edited it until {stamp}, and was logged out."],
    )
    if isinstance(kept, FormDraft):
        title = f"Left half-way: {kept.title}"
        about = [f"Somebody filled in this form until {stamp}, and was logged out."]
    elif not _began_with(kept, context):
        about.append("proxy.ini was changed since. The difference will show what of that is lost.")
    entries = (
        Entry("Open", "go on with it; nothing is applied before you say so", Open("draft", kept)),
        Entry("Later", "leave it: you are asked again at the next log-in", Back()),
        Entry("Discard", "remove the draft for good", Forget(kept.path)),
    )
    return Menu(title, entries, about=about, back="Esc later")


def _began_with(kept: Draft, context: Context) -> bool:
    try:
        return kept.began_with(settings_verbs.text_of(context))
    except Refusal:
        return False
