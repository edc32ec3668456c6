"""The verbs of the proxy's processes, all through supervisorctl; and their logs.

Shell. Neighbours: `facts` reads what supervisor says, `self_test` whether the node takes traffic.
"""

from __future__ import annotations

from typing import Final

from appliance import facts, renewal
from appliance.errors import Problem, Problems, Refusal
from appliance.places import SERVICE_OWNER, Places
from appliance.readings import Worker
from appliance.verb import Argument, Context, Result, Values, Verb

__all__ = ["VERBS"]

_RESTART_S: Final = 120.0
_PAUSE_S: Final = 0.5
_TAIL_BYTES: Final = 256 * 1024
_LINES: Final = 50
_UNIT: Final = "agent-proxy.service"
_KINDS: Final = {"events": "worker-", "access": "access-", "supervisor": "supervisord"}


def _workers(context: Context) -> tuple[Worker, ...]:
    """Raises: Refusal while supervisor does not run."""
    found = facts.workers(context.system, Places(context.conf))
    if not found:
        raise Refusal("the proxy does not run. See `agent-proxy-appliance services start`")
    return found


def _status(context: Context, values: Values) -> Result:
    found = _workers(context)
    lines = tuple(f"{one.name:<26} {one.state:<10} {one.detail}".rstrip() for one in found)
    running = all(one.is_running for one in found)
    return Result(lines, [one._asdict() for one in found], 0 if running else 1)


def _start(context: Context, values: Values) -> Result:
    """Start what supervises the workers, or what it gave up; or after somebody stopped it."""
    system, places = context.system, Places(context.conf)
    found = facts.workers(system, places)
    down = [one.name for one in found if one.is_down]
    made = _logs_made(context)
    if found and not down:
        again = "`agent-proxy-appliance services rolling-restart`"
        if not made:
            raise Refusal(f"the proxy runs. To start it anew: {again}")
        line = f"{places.logs} is made anew; what runs writes into it after {again}."
        return Result((line,), {"started": []})
    argv = places.supervisorctl("start", *down) if down else ("systemctl", "start", _UNIT)
    what = ", ".join(down) or "the proxy"
    context.progress(f"starting {what}")
    done = system.run(argv, timeout_s=_RESTART_S)
    if done.code or "ERROR" in done.out:
        raise Refusal(f"{what} did not start: {done.said}. See `services logs`, `diagnose`")
    line = f"{', '.join(down) or 'The proxy'}: started. See `services status`."
    return Result((line,), {"started": down or [_UNIT]})


def _logs_made(context: Context) -> bool:
    """Make the folder of logs if it is not as it should be: nothing starts without it."""
    logs = Places(context.conf).logs
    if not facts.logs_wrong(context.system, Places(context.conf)):
        return False
    try:
        context.system.folder(logs, mode=0o700, owner=SERVICE_OWNER)
    except (OSError, LookupError) as error:
        raise Refusal(f"{logs} cannot be made: {error}. Mend the disk") from error
    return True


def _restart(context: Context, values: Values) -> Result:
    found = _workers(context)
    wanted = str(values["name"])
    names = [one.name for one in found if wanted in (one.name, one.name.partition(":")[2], "all")]
    if not names:
        there = ", ".join(one.name.partition(":")[2] for one in found)
        message = "there is no process of this name"
        raise Problems([Problem("NAME", wanted, message, f"There are: all, {there}.")])
    context.progress(f"restarting {', '.join(names)}")
    return _restarted(context, [tuple(names)])


def _rolling(context: Context, values: Values) -> Result:
    """One after the other, each ready before the next: no request is lost."""
    return _restarted(context, [(one.name,) for one in _workers(context)])


def _restarted(context: Context, rounds: list[tuple[str, ...]]) -> Result:
    """Raises: Refusal at the first process that does not come back; the others serve on."""
    places = Places(context.conf)
    settings, _ = facts.configured(context.system, context.conf)
    lines = []
    for names in rounds:
        if context.stop():
            raise Refusal(
                f"stopped before {names[0]}: it and the processes after it go on as before"
            )
        shown = ", ".join(names)
        context.progress(f"restarting {shown}")
        argv = places.supervisorctl("restart", *names)
        done = context.system.run(argv, timeout_s=_RESTART_S)
        if done.code or "ERROR" in done.out:
            remedy = "See `services logs`; the processes after it were left alone"
            raise Refusal(f"{shown} did not restart: {done.said}. {remedy}")
        if settings is not None:
            numbers = [name.rpartition("-")[2] for name in names if "worker-" in name]
            renewal.await_ready(context, settings, numbers)
        lines.append(f"{shown}: {_ended(context, 'restarted and ready')}")
    return Result(tuple(lines), {"restarted": [name for names in rounds for name in names]})


def _renew(context: Context, values: Values) -> Result:
    names = renewal.renew(context)
    end = _ended(context, "started anew and ready")
    return Result(tuple(f"{name}: {end}" for name in names), {"renewed": names})


def _ended(context: Context, how: str) -> str:
    return f"would be {how}" if context.system.dry else how


def _logs(context: Context, values: Values) -> Result:
    kind = values.get("kind") or "events"
    places = Places(context.conf)
    wanted = values.get("worker")
    prefix = _KINDS[kind] if wanted is None or kind == "supervisor" else f"{_KINDS[kind]}{wanted}."
    there = context.system.list(places.logs)
    names = [name for name in there if name.startswith(prefix) and name.endswith(".log")]
    if not names and wanted is not None:
        remedy = "See `agent-proxy-appliance services status`, or leave it out for all."
        raise Problems([Problem("--worker", str(wanted), "this worker has no such log", remedy)])
    if not names:
        raise Refusal(f"there is no such log in {places.logs}")
    ends: dict[str, int] = {}
    lines: list[str] = []
    count = values.get("lines") or _LINES
    for name in names:
        content, ends[name] = context.system.tail(f"{places.logs}/{name}", _TAIL_BYTES)
        mark = f"{name.removesuffix('.log')}: " if len(names) > 1 else ""
        lines += [f"{mark}{line}" for line in _split(content)[-count:]]
    if values.get("follow"):
        _follow(context, places, ends, lines)
        return Result((), {"lines": []})
    return Result(tuple(lines), {"lines": lines})


def _follow(context: Context, places: Places, ends: dict[str, int], lines: list[str]) -> None:
    """Show what is written from now on, until whoever asked says stop."""
    for line in lines:
        context.progress(line)
    while not context.stop():
        for name, end in ends.items():
            content, ends[name] = context.system.tail(
                f"{places.logs}/{name}", _TAIL_BYTES, since=end
            )
            mark = f"{name.removesuffix('.log')}: " if len(ends) > 1 else ""
            for line in _split(content):
                context.progress(f"{mark}{line}")
        context.system.pause(_PAUSE_S)


def _split(content: bytes) -> list[str]:
    return content.decode(errors="replace").splitlines()


VERBS: Final = (
    Verb(
        "services status",
        "show the proxy's processes",
        _status,
        examples=("agent-proxy-appliance services status --json",),
    ),
    Verb(
        "services start",
        "start the proxy, or what of it was given up",
        _start,
        examples=("agent-proxy-appliance services start",),
        changes=True,
        endures="what was begun to start is not killed half-way",
    ),
    Verb(
        "services restart",
        "restart one process, or all at once",
        _restart,
        (
            Argument(
                "name",
                "text",
                "the process",
                "worker-0, worker-1 ... or all",
                required=True,
                positional=True,
            ),
        ),
        ("agent-proxy-appliance services restart worker-0",),
        "All at once cuts what is under way after the drain: rather use rolling-restart.",
        changes=True,
        dangerous=True,
    ),
    Verb(
        "services rolling-restart",
        "restart all processes, each ready before the next",
        _rolling,
        examples=("agent-proxy-appliance services rolling-restart",),
        more="No request is lost; WebSockets connect again.",
        changes=True,
    ),
    Verb(
        "services renew",
        "replace supervisord and all processes, while others serve",
        _renew,
        examples=("agent-proxy-appliance services renew",),
        more="For what is read only when supervisord starts: its own program, the unit, the number "
        "of workers. No request is lost; WebSockets connect again.",
        changes=True,
        endures="half of the processes would be old ones, or the workers that serve meanwhile",
    ),
    Verb(
        "services logs",
        "show the last lines of the proxy's logs, or follow them",
        _logs,
        (
            Argument(
                "kind",
                "choice",
                "events, one line per exchange, or supervisor's own",
                default="events",
                choices=("events", "access", "supervisor"),
            ),
            Argument("worker", "number", "of one worker only", "0, 1 ...", "all", low=0, high=999),
            Argument("lines", "number", "how many of each", "1 to 1000", "50", low=1, high=1000),
            Argument("follow", "flag", "show new lines until it is stopped"),
        ),
        (
            "agent-proxy-appliance services logs --kind access --lines 20",
            "agent-proxy-appliance services logs --worker 0 --follow",
        ),
    ),
)
