"""One run: the load goes on, the schedule is carried out, and every second is looked at."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.integration.peers import eventually

from .faults import KEPT_S, SETTLE_S, Excuse, Loss, Step, schedule, unexcused
from .picture import Mark, draw
from .samples import Latency, Sample, look, segments, write_csv
from .verdict import Growth, growth, table, unjudged
from .world import WORKERS, World, running

_LOOK_S: Final = 1.0
_BOTH: Final = ("up", "down")
IDLE_DESCRIPTORS: Final = 48
"""Of a worker without callers: its listeners, its files, 16 kept connections to the platform."""
_EMPTY_S: Final = 60.0
LONG_S: Final = 600.0
"""A run so long has judged the memory of every worker, or fails."""


class Run:
    """What happened; `faults` are sentences, none of which a good run has."""

    def __init__(self, world: World, seconds: float, say: Callable[[str], None]) -> None:
        self._world, self._seconds, self._say = world, seconds, say
        self._began = time.monotonic()
        self._wrong = ""
        self._looked = 0.0
        self._helpers: list[threading.Thread] = []
        self.samples: list[Sample] = []
        self.times: list[Latency] = []
        self.losses: list[Loss] = []
        self.excuses: list[Excuse] = []
        self.marks: list[Mark] = []
        self.faults: list[str] = []

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    def go(self) -> None:
        """Raises nothing of the node's: what is wrong with it is in `faults`."""
        steps = schedule(self._seconds)
        told = 0.0
        while self._now < self._seconds:
            while steps and steps[0].at <= self._now and self._may(steps[0]):
                self._take(steps.pop(0))
            self._look()
            if self._now - told >= 5:
                told = self._now
                self._tell()
            time.sleep(max(0.0, _LOOK_S - (self._now - self._looked)))
        for helper in self._helpers:
            helper.join(120)
        eventually(self._world.node.is_complete, "all workers are there at the end", 60)
        self._settle()

    def _may(self, step: Step) -> bool:
        """Whether the step before is over: with both workers gone, nobody could answer."""
        if step.kind == "platform":
            return True
        under_way = any(helper.is_alive() for helper in self._helpers)
        return not under_way and self._world.node.is_complete()

    def _take(self, step: Step) -> None:
        if step.kind == "platform":
            self._break_platform(step)
            return
        self._say(f"{self._now:6.0f} s  {step.kind} of worker {step.worker}")
        self.marks.append(Mark(self._now, step.kind))
        if step.kind == "kill":
            self._kill(step.worker)
        elif step.kind == "restart":
            self._behind(lambda: self._ctl("restart", f"agent-proxy:worker-{step.worker}"))
        else:
            self._behind(lambda: self._ctl("signal", "HUP", "agent-proxy:*"))

    def _break_platform(self, step: Step) -> None:
        self._wrong = step.fault.kind
        self._world.relay.inject(step.fault)
        begin = self._now
        end = begin + step.lasts_s + SETTLE_S
        self.excuses.append(Excuse(step.fault.kind, begin, end, ("up",)))

        def heal() -> None:
            time.sleep(step.lasts_s)
            self._world.relay.heal()
            self._wrong = ""

        self._behind(heal)

    def _kill(self, worker: int) -> None:
        pid = self._world.node.pid(f"worker-{worker}")
        held = [one.connections for one in self.samples if one.worker == worker][-3:]
        begin = self._now
        os.kill(pid, signal.SIGKILL)
        most = max(held, default=0) + 4  # some are accepted and not yet counted
        self.excuses.append(Excuse("kill", begin, begin + KEPT_S, _BOTH, most))

    def _ctl(self, *words: str) -> None:
        try:
            self._world.node.ctl(*words)
        except AssertionError as fault:
            self.faults.append(f"supervisorctl {' '.join(words)}: {fault}")

    def _behind(self, act: Callable[[], None]) -> None:
        helper = threading.Thread(target=act)
        helper.start()
        self._helpers.append(helper)

    def _look(self, line: str = "report") -> None:
        since, self._looked = self._looked, self._now
        for number in range(WORKERS):
            pid = self._world.node.pid(f"worker-{number}")
            if pid and (sample := look(self._world.node, self._now, number, pid)) is not None:
                self.samples.append(sample)
        for name, load in self._world.loads.items():
            seen = load.report(line)
            if seen["count_lost"]:
                lost = tuple(seen["lost"])
                self.losses.append(Loss(name, since, self._now, seen["count_lost"], lost))
            if name == "up":
                done, lost_now = seen.get("done", 0), seen["count_lost"]
                times = (seen["p50_ms"], seen["p99_ms"])
                self.times.append(Latency(self._now, done, lost_now, *times, self._wrong))

    def _tell(self) -> None:
        last = self.times[-1]
        workers = [one for one in self.samples if one.at > last.at - 2 * _LOOK_S]
        memory = {one.worker: f"{one.memory_kib / 1024:.1f}" for one in workers}
        done = sum(load.total["done"] for load in self._world.loads.values())
        self._say(
            f"{self._now:6.0f} s  {done} answered, {self._lost()} not; "
            f"p50 {last.p50_ms} p99 {last.p99_ms} ms; MiB {memory} {last.fault}"
        )

    def _lost(self) -> int:
        return sum(loss.number for loss in self.losses)

    def _settle(self) -> None:
        """End the load; compare what was sent, answered and received."""
        self._look("end")
        self.faults += unexcused(self.losses, self.excuses)
        for name, load in self._world.loads.items():
            came: dict[str, Any] = self._world.ledgers[name].ask()
            done = load.total["done"]
            for kind in ("requests", "messages"):
                if came[kind]["count_twice"]:
                    self.faults.append(f"{name}: {kind} came twice: {came[kind]['twice']}")
            lost = load.total["count_lost"]
            if not done <= came["requests"]["came"] <= done + lost:
                reached = came["requests"]["came"]
                self.faults.append(f"{name}: {reached} came, {done} were answered, {lost} lost")
            if done == 0:
                self.faults.append(f"{name}: nothing was answered at all")
        for load in self._world.loads.values():
            load.stop()  # with it go the connections that it kept
        self.faults += [f for number in range(WORKERS) for f in self._left_open(number)]

    def _left_open(self, number: int) -> list[str]:
        """Return what a worker still holds although nobody calls any more."""
        node = self._world.node
        deadline = time.monotonic() + _EMPTY_S
        while True:
            pid = node.pid(f"worker-{number}")
            last = look(node, self._now, number, pid) if pid else None
            if last is not None and not last.connections and last.descriptors <= IDLE_DESCRIPTORS:
                return []
            if time.monotonic() >= deadline:
                return [f"worker {number} does not become empty: {last}"]
            time.sleep(_LOOK_S)


def soak(
    home: Path, out: Path, seconds: float, rate: float, tunnels: int, limit: float
) -> tuple[list[str], list[str]]:
    """Return the report's lines and what is wrong; writes soak.svg and two CSV into `out`."""
    with running(home, rate, tunnels) as world:
        run = Run(world, seconds, lambda line: print(line, flush=True))
        run.go()
    faults = [one for one in run.excuses if one.name != "kill"]
    found = [growth(segment, faults) for segment in segments(run.samples)]
    wrong = run.faults + _grown(found, limit)
    if seconds >= LONG_S:
        wrong += unjudged(found, WORKERS)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "workers.csv", run.samples)
    write_csv(out / "latency.csv", run.times)
    (out / "soak.svg").write_text(draw(run.samples, run.times, run.marks))
    return [*table(found, limit), "", *_totals(run, world)], wrong


def _grown(found: list[Growth], limit: float) -> list[str]:
    return [
        f"worker {one.samples[0].worker} is not shown to be flat: it may grow by "
        f"{one.trend.low:.1f} to {one.trend.high:.1f} KiB/min"
        for one in found
        if one.trend is not None and not one.is_flat(limit)
    ]


def _totals(run: Run, world: World) -> list[str]:
    lines = []
    for name, load in world.loads.items():
        total = load.total
        lines.append(
            f"{name}: {total['done']} requests answered, {total['messages']} messages, "
            f"{total['tunnels_ended']} tunnels ended, {total['count_lost']} lost in all"
        )
    kinds: dict[str, int] = {}
    for excuse in run.excuses:
        kinds[excuse.name] = kinds.get(excuse.name, 0) + 1
    lines.append("faults: " + ", ".join(f"{count} x {kind}" for kind, count in kinds.items()))
    quiet = sorted(one.p99_ms for one in run.times if one.done and not one.fault)
    if quiet:
        lines.append(f"p99 of a second without a fault: median {quiet[len(quiet) // 2]} ms")
    return lines
