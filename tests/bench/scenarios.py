"""What is measured. Each scenario runs several times over the proxies in turn (A B C A B C ...),

so that a slow moment of the machine meets all of them, and starts a fresh proxy each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from . import load
from .programs import BenchError
from .proxies import (
    AGENT_PROXY,
    Bench,
    Running,
    proxy,
    request_backend,
    tunnel_backend,
)
from .tunnels import tunnels_to

_SETTLE_S = 2.0
_RATE = 500


@dataclass(frozen=True)
class Sizes:
    """How much each scenario does; `--quick` is only there to see that it works."""

    runs: int = 3
    storm_requests: int = 4800
    kept_seconds: float = 5
    tunnels: int = 5000
    many_tunnels: int = 8000
    steady_seconds: float = 8
    settle_s: float = _SETTLE_S


QUICK = Sizes(
    runs=1,
    storm_requests=160,
    kept_seconds=1,
    tunnels=40,
    many_tunnels=80,
    steady_seconds=0.5,
    settle_s=0.5,
)


@dataclass
class Results:
    """Metric -> proxy -> one value per run. Units are part of the metric's name."""

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, metric: str, name: str, value: float) -> None:
        self.values.setdefault(metric, {}).setdefault(name, []).append(value)


@dataclass
class Measurement:
    """What a scenario needs: the bench, the proxies to compare, sizes, where results go."""

    bench: Bench
    names: Sequence[str]
    sizes: Sizes
    results: Results

    def turns(self, scenario: str, backend: int, run: Callable[[Running], str]) -> None:
        """Call `run` for each proxy in turn, `sizes.runs` times; it returns what to print."""
        for number in range(1, self.sizes.runs + 1):
            for name in self.names:
                with proxy(self.bench, name, backend) as running:
                    try:
                        said = run(running)
                    except BenchError as error:
                        raise BenchError(
                            f"{scenario}, {name}, run {number}: {error}\n{running.complaint()}"
                        ) from error
                print(f"{scenario} {number}/{self.sizes.runs} {name}: {said}", flush=True)


def storm(it: Measurement) -> None:
    """New TLS connection per request, full handshake."""

    def run(running: Running) -> str:
        load.warm_up(running.port)
        count, cpu, seconds = _cpu(
            running, lambda: load.storm(running.port, requests=it.sizes.storm_requests, clients=16)
        )
        it.results.add("storm_cpu_us", running.name, cpu)
        it.results.add("storm_rate", running.name, count / seconds)
        return f"{cpu:.0f} us CPU per request, {count / seconds:.0f} requests/s"

    with request_backend(it.bench) as backend:
        it.turns("storm", backend, run)


def keepalive(it: Measurement) -> None:
    """GETs and POSTs over kept connections on both sides."""

    def run(running: Running) -> str:
        load.warm_up(running.port)
        count, cpu, seconds = _cpu(
            running,
            lambda: load.kept(running.port, seconds=it.sizes.kept_seconds, connections=32),
        )
        it.results.add("keepalive_cpu_us", running.name, cpu)
        it.results.add("keepalive_rate", running.name, count / seconds)
        return f"{cpu:.1f} us CPU per request, {count / seconds:.0f} requests/s"

    with request_backend(it.bench) as backend:
        it.turns("keepalive", backend, run)


def tunnels(it: Measurement) -> None:
    """Memory of an idle WebSocket tunnel, TLS on both sides, with thousands held."""
    count = it.sizes.tunnels

    def run(running: Running) -> str:
        with tunnels_to(running.port, 10) as few:
            few.open()  # what the first connection loads is no cost of a tunnel
        time.sleep(it.sizes.settle_s)
        before = running.memory()
        with tunnels_to(running.port, count) as held:
            seconds = held.open()
            time.sleep(it.sizes.settle_s)
            each = (running.memory().pss - before.pss) / count
            held.check()
        it.results.add("tunnel_bytes", running.name, each)
        return f"{each / 1000:.1f} KB per tunnel, {count} opened in {seconds:.1f} s"

    with tunnel_backend(it.bench) as backend:
        it.turns("tunnels", backend, run)


def many(it: Measurement) -> None:
    """Thousands of tunnels open at once over the two workers of the agent proxy."""
    count = it.sizes.many_tunnels
    if AGENT_PROXY not in it.names:
        return
    with tunnel_backend(it.bench) as backend:
        for number in range(1, it.sizes.runs + 1):
            with proxy(it.bench, AGENT_PROXY, backend, workers=2) as running:
                with tunnels_to(running.port, count) as held:
                    try:
                        seconds = held.open()
                        time.sleep(it.sizes.settle_s)
                        memory = running.memory()
                        held.check()
                    except BenchError as error:
                        raise BenchError(
                            f"many, run {number}: {error}\n{running.complaint()}"
                        ) from error
            it.results.add("many_errors", AGENT_PROXY, 0)
            it.results.add("many_seconds", AGENT_PROXY, seconds)
            it.results.add("many_bytes", AGENT_PROXY, memory.pss)
            print(
                f"many {number}/{it.sizes.runs} {AGENT_PROXY}: {count} tunnels at once, 0 errors, "
                f"opened in {seconds:.1f} s, {memory.pss / 1e6:.0f} MB in all",
                flush=True,
            )


def latency(it: Measurement) -> None:
    """Time added to a request at a steady rate, compared with no proxy between."""
    seconds = it.sizes.steady_seconds

    def measure(port: int) -> tuple[float, float]:
        load.warm_up(port)
        latencies = sorted(load.steady(port, rate=_RATE, seconds=seconds, clients=10))
        return tuple(1000 * latencies[int(len(latencies) * part)] for part in (0.5, 0.99))

    with request_backend(it.bench) as backend:
        direct: list[tuple[float, float]] = []

        def run(running: Running) -> str:
            if running.name == it.names[0]:
                direct.append(measure(backend))
            p50, p99 = measure(running.port)
            p50, p99 = p50 - direct[-1][0], p99 - direct[-1][1]
            it.results.add("latency_p50_ms", running.name, p50)
            it.results.add("latency_p99_ms", running.name, p99)
            return (
                f"adds p50 {p50:.2f} ms, p99 {p99:.2f} ms "
                f"(direct {direct[-1][0]:.2f} and {direct[-1][1]:.2f})"
            )

        it.turns("latency", backend, run)


def idle(it: Measurement) -> None:
    """Memory of a proxy that has just started and has no traffic."""

    def run(running: Running) -> str:
        time.sleep(it.sizes.settle_s)
        memory = running.memory()
        it.results.add("idle_rss_bytes", running.name, memory.rss)
        it.results.add("idle_pss_bytes", running.name, memory.pss)
        return f"{memory.rss / 1e6:.1f} MB resident, {memory.pss / 1e6:.1f} MB proportional"

    with request_backend(it.bench) as backend:
        it.turns("idle", backend, run)


ALL: dict[str, Callable[[Measurement], None]] = {
    "storm": storm,
    "keepalive": keepalive,
    "tunnels": tunnels,
    "many": many,
    "latency": latency,
    "idle": idle,
}


def _cpu(running: Running, load_it: Callable[[], int]) -> tuple[int, float, float]:
    """Return how many requests, CPU microseconds for each, seconds in all."""
    cpu, begin = running.cpu_seconds(), time.monotonic()
    count = load_it()
    seconds = time.monotonic() - begin
    return count, (running.cpu_seconds() - cpu) / count * 1e6, seconds
