"""The verbs `diagnose`, PASS, FAIL and SKIP as soon as each is known, and `bundle`.

Shell. Neighbours: `diagnostics` asks, `bundle` collects.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from appliance import bundle, diagnostics, fields
from appliance.errors import Refusal
from appliance.places import STATE
from appliance.verb import Argument, Context, Result, Values, Verb
from proxy.outcome import Outcome

__all__ = ["VERBS"]

_DEADLINE_S: Final = 120
_WAIT_S: Final = 60
_BUNDLE_S: Final = 45
_FOLDER: Final = f"{STATE}/bundles"
_SUFFIX: Final = ".tar.gz"
_KEPT: Final = 5


def _diagnose(context: Context, values: Values) -> Result:
    wait_s = values["wait"] if values.get("wait") is not None else _WAIT_S
    deadline_s = values.get("deadline") or max(_DEADLINE_S, wait_s + _WAIT_S)
    context.progress("asking; whoever is waited for is waited for last")
    found: list[Outcome] = []
    for outcome in diagnostics.run(
        context.system, context.conf, deadline_s=deadline_s, wait_s=wait_s, stop=context.stop
    ):
        found.append(outcome)
        context.progress(str(outcome))
        if context.stop():
            break
    counts = Counter(one.verdict for one in found)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("PASS", "FAIL", "SKIP"))
    data = {"counts": dict(counts), "outcomes": [one._asdict() for one in found]}
    return Result((told,), data, 1 if counts["FAIL"] else 0)


def _bundle(context: Context, values: Values) -> Result:
    system = context.system

    def step(line: str) -> None:
        if context.stop():
            raise Refusal("stopped: no bundle was written")
        context.progress(line)

    outcomes = []
    step("diagnosing")
    for one in diagnostics.run(system, context.conf, deadline_s=_BUNDLE_S, wait_s=0):
        outcomes.append(one)
        step(f"diagnosing: {one.name}")
    files = bundle.collect(system, context.conf, outcomes, step)
    when = context.now()
    name = f"agent-proxy-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(when))}"
    path = str(values.get("file") or f"{_FOLDER}/{name}{_SUFFIX}")
    try:
        system.write(path, bundle.packed(files, name, when), mode=0o600)
        for old in system.list(_FOLDER)[:-_KEPT]:
            system.remove(f"{_FOLDER}/{old}")
    except OSError as error:
        raise Refusal(f"{path} cannot be written: {error.strerror}") from error
    sizes = {file: len(content) for file, content in sorted(files.items())}
    for file, size in sizes.items():
        context.progress(f"{size:>9}  {file}")
    line = f"{path} holds these files; no secret, key, body or query is in it."
    return Result((line,), {"file": path, "files": sizes})


VERBS: Final = (
    Verb(
        "bundle",
        "collect what support needs, without any secret, into one file",
        _bundle,
        (
            Argument(
                "file",
                "file",
                "where to",
                "",
                f"{_FOLDER}/agent-proxy-TIME.tar.gz",
                positional=True,
                check=fields.path,
            ),
        ),
        (
            "agent-proxy-appliance bundle",
            "agent-proxy-appliance bundle /media/bundle.tar.gz --json",
        ),
        "Addresses, host names and log lines are in it. The last 5 are kept here.",
        changes=True,
    ),
    Verb(
        "diagnose",
        "test everything this node relies on, in both directions",
        _diagnose,
        (
            Argument(
                "wait",
                "number",
                "how long to wait for the platform to call",
                "0 to 3600 s",
                "60",
                low=0,
                high=3600,
            ),
            Argument(
                "deadline",
                "number",
                "for everything together",
                "5 to 3700 s",
                "120",
                low=5,
                high=3700,
            ),
        ),
        (
            "agent-proxy-appliance diagnose",
            "agent-proxy-appliance diagnose --wait 0 --json",
        ),
        "Findings about the network are worded for a firewall ticket. Exit code 1 if one fails.",
    ),
)
