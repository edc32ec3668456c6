"""Medians, ratios, targets: the table, and docs/performance.md with it between two markers."""

from __future__ import annotations

import os
import platform
import re
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from . import picture
from .proxies import AGENT_PROXY, HAPROXY, NAMES, NGINX

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

Values = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Metric:
    """One line of the table: how values are shown and what the agent proxy must reach.

    `limit` returns the largest right value of the agent proxy, given everybody's medians;
    None if what it is compared with was not measured. `below`: the limit itself is too much.
    """

    key: str
    title: str
    unit: str
    scale: float = 1
    digits: int = 1
    target: str = ""
    limit: Callable[[Mapping[str, float]], float | None] | None = None
    below: bool = False


@dataclass(frozen=True)
class Row:
    """A metric with its medians; `reached` is None where there is nothing to judge."""

    metric: Metric
    medians: Mapping[str, float]
    limit: float | None
    reached: bool | None


def _times(name: str, factor: float) -> Callable[[Mapping[str, float]], float | None]:
    return lambda medians: medians[name] * factor if name in medians else None


METRICS = (
    Metric(
        "storm_cpu_us",
        "Reconnect storm, CPU per request",
        "µs",
        digits=0,
        target="≤ 1.3 × nginx",
        limit=_times(NGINX, 1.3),
    ),
    Metric(
        "storm_cpu_us",
        "Reconnect storm, beside HAProxy",
        "µs",
        digits=0,
        target="< HAProxy",
        limit=_times(HAPROXY, 1),
        below=True,
    ),
    Metric(
        "keepalive_cpu_us",
        "Kept connections, CPU per request",
        "µs",
        target="≤ 2 × nginx (goal 1 ×)",
        limit=_times(NGINX, 2),
    ),
    Metric(
        "tunnel_bytes",
        "Idle tunnel, memory (5,000 held)",
        "KB",
        scale=1e-3,
        target="< nginx",
        limit=_times(NGINX, 1),
        below=True,
    ),
    Metric(
        "many_errors",
        "8,000 tunnels at once, two workers",
        "errors",
        digits=0,
        target="0",
        limit=lambda _: 0,
    ),
    Metric("latency_p50_ms", "Latency added at 500 requests/s, p50", "ms", digits=2),
    Metric(
        "latency_p99_ms",
        "Latency added at 500 requests/s, p99",
        "ms",
        digits=2,
        target="≤ 5 ms",
        limit=lambda _: 5,
    ),
    Metric(
        "idle_rss_bytes",
        "Without traffic, resident memory",
        "MB",
        scale=1e-6,
        target="≤ 45 MB",
        limit=lambda _: 45e6,
    ),
    Metric("idle_pss_bytes", "Without traffic, proportional share", "MB", scale=1e-6),
)


def rows(values: Values) -> list[Row]:
    """Return a row for each metric that was measured, in the table's order."""
    return [_row(metric, values[metric.key]) for metric in METRICS if metric.key in values]


def table(judged: Sequence[Row]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| | agent proxy | nginx | HAProxy | ÷ nginx | ÷ HAProxy | target | |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for row in judged:
        cells = [f"{row.metric.title}"]
        cells += [_shown(row.metric, row.medians.get(name)) for name in NAMES]
        cells += [_ratio(row, NGINX), _ratio(row, HAPROXY)]
        cells += [row.metric.target or "–", {True: "pass", False: "FAIL", None: "–"}[row.reached]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(docs: Path, judged: Sequence[Row], values: Values) -> None:
    """Replace what is between the markers in performance.md, and performance.svg."""
    page = docs / "performance.md"
    text = page.read_text() if page.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{page} lacks the markers {BEGIN} and {END}")
    parts = [_circumstances(), "![The table as bars](performance.svg)", table(judged)]
    parts += ["Every run, in the order they were made:", _runs(values)]
    page.write_text(before + BEGIN + "\n" + "\n\n".join(parts) + "\n" + END + after)
    (docs / "performance.svg").write_text(picture.draw(judged))


def _row(metric: Metric, runs: Mapping[str, Sequence[float]]) -> Row:
    medians = {name: median(values) for name, values in runs.items()}
    limit = metric.limit(medians) if metric.limit else None
    reached = None
    if limit is not None and AGENT_PROXY in medians:
        ours = medians[AGENT_PROXY]
        reached = ours < limit if metric.below else ours <= limit
    return Row(metric, medians, limit, reached)


def _shown(metric: Metric, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * metric.scale:,.{metric.digits}f} {metric.unit}"


def _ratio(row: Row, name: str) -> str:
    ours, theirs = row.medians.get(AGENT_PROXY), row.medians.get(name)
    if ours is None or theirs is None or theirs <= 0 or ours <= 0:
        return "–"
    return f"{ours / theirs:.2f}"


def _runs(values: Values) -> str:
    lines = ["| | agent proxy | nginx | HAProxy |", "|---|---|---|---|"]
    for key, runs in values.items():
        cells = [", ".join(_plain(value) for value in runs.get(name, ())) for name in NAMES]
        lines.append(f"| `{key}` | {' | '.join(cell or '–' for cell in cells)} |")
    return "\n".join(lines)


def _plain(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _circumstances() -> str:
    """Return when, how and with what it was measured; no host names, no paths."""
    made = [
        f"agent proxy {_agent_proxy_version()} on Python {platform.python_version()}",
        f"gevent {version('gevent')}, {ssl.OPENSSL_VERSION}",
        "nginx " + _said(["nginx", "-v"], r"nginx/(\S+)"),
        "HAProxy " + _said(["haproxy", "-v"], r"version (\S+)"),
        "wrk " + _said(["wrk", "-v"], r"wrk (?:debian/)?(\S+)"),
    ]
    cores = len(os.sched_getaffinity(0))
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench` on a machine with {cores} cores "
        f"({platform.machine()}, Linux {platform.release().split('-')[0]}), which the load "
        f"generators, the stand-in platform and the proxies share: {', '.join(made)}. "
        "Medians of three runs; ratios are the agent proxy's median divided by the other's."
    )


def _agent_proxy_version() -> str:
    text = (Path(__file__).parents[2] / "proxy" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"', text, re.M)
    return found[1] if found else "?"


def _said(argv: Sequence[str], pattern: str) -> str:
    """Return what a program says about its own version."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else "?"
