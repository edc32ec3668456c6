"""The verbs that make a waiting change final or take it back.

Shell. Neighbours: `commit` does it, `verbs` lists these.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from appliance import commit, reset
from appliance.plan import Plan, differences
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS", "carry_out"]


def carry_out(
    context: Context,
    plan: Plan,
    *,
    confirm_s: float = 0.0,
    self_test: commit.SelfTest | None = None,
    lines: tuple[str, ...] = (),
    data: dict[str, object] | None = None,
) -> Result:
    """Apply a plan and return what to say about it: the difference, the tests, what is next.

    Raises: Refusal.
    """
    changed = differences(plan, context.system.read)
    applied = commit.apply(
        context.system,
        plan,
        confirm_s=confirm_s,
        self_test=self_test,
        progress=context.progress,
        stop=context.stop,
    )
    said = [*changed, *lines, *map(str, applied.outcomes), *applied.notes]
    if applied.rolled_back:
        said.append(f"ROLLED BACK: {applied.rolled_back}. The old state is in force again.")
    elif context.system.dry:
        said.append("dry run: nothing was changed")
    elif applied.confirm_within_s:
        said.append(
            f"Applied. It is taken back in {applied.confirm_within_s:.0f} s unless confirmed: "
            "agent-proxy-appliance confirm"
        )
    else:
        said.append("Done.")
    document = {
        **(data or {}),
        "title": applied.title,
        "differences": changed,
        "outcomes": [one._asdict() for one in applied.outcomes],
        "rolledBack": applied.rolled_back,
        "confirmWithinSeconds": applied.confirm_within_s,
        "notes": list(applied.notes),
    }
    return Result(tuple(said), document, 1 if applied.rolled_back else 0)


def _confirm(context: Context, values: Values) -> Result:
    title = commit.confirm(context.system)
    return Result((f"{title}: confirmed, final.",), {"title": title})


def _roll_back(context: Context, values: Values) -> Result:
    return _reverted(*commit.roll_back(context.system))


def _recover(context: Context, values: Values) -> Result:
    if reset.is_pending(context.system):
        removed = reset.finish(context.system, context.conf)
        return Result(
            ("The factory reset is complete.",), {"title": "factory reset", "removed": removed}
        )
    found = commit.recover(context.system, boot=bool(values.get("boot")))
    if found is None:
        return Result(("Nothing to take back.",), {"title": None, "notes": []})
    return _reverted(*found)


def _reverted(title: str, notes: list[str]) -> Result:
    lines = (f"{title}: taken back, the old state is in force again.", *notes)
    return Result(lines, {"title": title, "notes": notes}, 1 if notes else 0)


def _waiting(context: Context, values: Values) -> Result:
    found = commit.waiting(context.system)
    if found is None:
        return Result(("No change waits.",), None)
    line = f"{found.title}: {found.state}, taken back in {found.left_s:.0f} s unless confirmed"
    return Result((line,), dataclasses.asdict(found))


_WHOLE: Final = "taking back goes on until the old state is whole"

VERBS: Final = (
    Verb(
        "waiting",
        "show the change that is not confirmed yet",
        _waiting,
        examples=("agent-proxy-appliance waiting --json",),
    ),
    Verb(
        "confirm",
        "make the waiting change final",
        _confirm,
        examples=("agent-proxy-appliance confirm",),
        more="A change of network, TLS or proxy settings is taken back after 120 s without this.",
        changes=True,
        endures="it is only a moment",
    ),
    Verb(
        "rollback",
        "take the waiting change back now",
        _roll_back,
        examples=("agent-proxy-appliance rollback",),
        changes=True,
        endures=_WHOLE,
    ),
    Verb(
        "recover",
        "take back what was cut off or not confirmed in time (units do this)",
        _recover,
        (
            Argument(
                "boot",
                "flag",
                "services have not started yet: put files back, run nothing",
            ),
        ),
        ("agent-proxy-appliance recover", "agent-proxy-appliance recover --boot"),
        changes=True,
        endures=_WHOLE,
    ),
)
