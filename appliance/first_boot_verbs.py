"""The verbs of the first boot.

Shell. Neighbours: `first_boot` does it, `verbs` lists these; agent-proxy-first-boot.service runs
`first-boot run --unattended` until it is complete, the wizard `first-boot run` with answers.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from appliance import answer_sources, answers_file, first_boot
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]


def _run(context: Context, values: Values) -> Result:
    text = values.get("answers")
    given = None if text is None else answers_file.from_user_data(str(text).encode(), "the answers")
    found = first_boot.run(context.system, context.conf, given=given, progress=context.progress)
    result = _shown(found)
    # Waiting for answers is no failure of the unit that looks for them.
    return Result(result.lines, result.data, 0 if values.get("unattended") else result.code)


def _status(context: Context, values: Values) -> Result:
    return _shown(first_boot.state(context.system))


def _answers(context: Context, values: Values) -> Result:
    found = answer_sources.find(context.system, answer_sources.get)
    secret = ("password", "secret")
    shown = {
        key: "set" if key.endswith(secret) else value for key, value in sorted(found.values.items())
    }
    lines = [f"{key} = {value}" for key, value in shown.items()]
    source = found.source or "no answers were found"
    return Result((source, *lines), {"source": found.source, "answers": shown})


def _shown(found: first_boot.State) -> Result:
    lines = [
        f"{step.number} {step.name:<10} {step.state:<6} {step.detail}".rstrip()
        for step in found.steps
    ]
    lines += [str(problem) for problem in found.problems]
    data = {
        "complete": found.is_complete,
        "source": found.source,
        "steps": [asdict(step) for step in found.steps],
        "problems": [problem._asdict() for problem in found.problems],
    }
    return Result(tuple(lines), data, 0 if found.is_complete else 1)


VERBS: Final = (
    Verb(
        "first-boot status",
        "show how far the first boot has come, and what it waits for",
        _status,
        examples=("agent-proxy-appliance first-boot status",),
    ),
    Verb(
        "first-boot answers",
        "show the answers that are found now, and where",
        _answers,
        examples=("agent-proxy-appliance first-boot answers",),
    ),
    Verb(
        "first-boot run",
        "do the steps of the first boot that are not done",
        _run,
        (
            Argument(
                "answers",
                "lines",
                "take these answers, written as user data",
                "YAML or JSON with a mapping agent-proxy:",
                "look for user data, OVF properties and seed volumes",
                positional=True,
            ),
            Argument("unattended", "flag", "waiting for answers is no failure (for the unit)"),
        ),
        ("agent-proxy-appliance first-boot run answers.yaml",),
        more="Each step is safe to repeat. Without answers, or with bad ones, nothing is changed.",
        changes=True,
        endures="each step goes to its end; one that was cut off is done again",
    ),
)
