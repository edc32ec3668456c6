"""Snapshots of all workers as Prometheus metrics, and added up for people.

Shell. Neighbours: `telemetry` makes snapshots, `admin` serves what is made here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from proxy.telemetry import DURATION_BOUNDS_S

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
Rescues: TypeAlias = Mapping[str, Mapping[str, int]]
"""By worker and what was done."""


class _Collector:
    def __init__(self, workers: list[dict[str, Any]], rescues: Rescues) -> None:
        self._workers = workers
        self._rescues = rescues

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._counters()
        yield self._rescued()
        yield self._durations()

    def _gauges(self) -> Iterator[Metric]:
        for name, key, sense in (
            ("connections", "connections", "Accepted connections that are open"),
            ("connections_limit", "connectionsLimit", "How many of them agents may take"),
            ("idle_connections", "idleConnections", "Open connections without a request"),
            ("tunnels", "tunnels", "WebSocket and other tunnels that are open"),
            ("in_flight", "inFlight", "Exchanges and tunnels under way"),
            ("uptime_seconds", "uptimeSeconds", "Seconds since the worker started"),
            (
                "certificate_ends_timestamp_seconds",
                "certificateEnds",
                "When the certificate shown to callers ends, in seconds since 1970",
            ),
        ):
            gauge = GaugeMetricFamily(f"agent_proxy_{name}", sense, labels=["worker"])
            for worker in self._workers:
                gauge.add_metric([str(worker["worker"])], worker[key])
            yield gauge
        ready = GaugeMetricFamily("agent_proxy_ready", "1: takes traffic", labels=["worker"])
        upstream = GaugeMetricFamily(
            "agent_proxy_upstream_healthy",
            "1: the last connect worked",
            labels=["worker", "endpoint", "address"],
        )
        for worker in self._workers:
            number = str(worker["worker"])
            ready.add_metric([number], 0 if worker["readyProblems"] else 1)
            for place in worker["upstream"]:
                labels = [number, place["endpoint"], place["address"]]
                upstream.add_metric(labels, 1 if place["healthy"] else 0)
        zones = GaugeMetricFamily(
            "agent_proxy_zone_up", "1: agents of the zone can arrive", labels=["worker", "zone"]
        )
        held = GaugeMetricFamily(
            "agent_proxy_zone_connections",
            "Accepted connections of the zone that are open",
            labels=["worker", "zone"],
        )
        for worker in self._workers:
            for zone in worker["zones"]:
                up = 1 if zone["listens"] and not zone["problems"] else 0
                zones.add_metric([str(worker["worker"]), zone["name"]], up)
                held.add_metric([str(worker["worker"]), zone["name"]], zone["connections"])
        yield ready
        yield upstream
        yield zones
        yield held

    def _counters(self) -> Iterator[Metric]:
        exchanges = CounterMetricFamily(
            "agent_proxy_exchanges",
            "Exchanges and tunnels by how they ended",
            labels=["worker", "direction", "end"],
        )
        responses = CounterMetricFamily(
            "agent_proxy_responses",
            "Responses by status, 0: none was sent",
            labels=["worker", "direction", "status"],
        )
        traffic = CounterMetricFamily(
            "agent_proxy_body_bytes", "Bytes of bodies and tunnels", labels=["worker", "way"]
        )
        events = CounterMetricFamily(
            "agent_proxy_events", "What else happened", labels=["worker", "event"]
        )
        zones = CounterMetricFamily(
            "agent_proxy_zone_events",
            "Connections and exchanges of each zone; zone -: in none",
            labels=["worker", "zone", "event"],
        )
        for worker in self._workers:
            number = str(worker["worker"])
            for zone, event, count in worker["zoneEvents"]:
                zones.add_metric([number, zone, event], count)
            for direction, end, count in worker["exchanges"]:
                exchanges.add_metric([number, direction, end], count)
            for direction, status, count in worker["statuses"]:
                responses.add_metric([number, direction, str(status)], count)
            traffic.add_metric([number, "in"], worker["bytesIn"])
            traffic.add_metric([number, "out"], worker["bytesOut"])
            for event, count in worker["events"].items():
                events.add_metric([number, event], count)
        yield from (exchanges, responses, traffic, events, zones)

    def _rescued(self) -> Metric:
        family = CounterMetricFamily(
            "agent_proxy_rescues",
            "What the watchdog did about a worker: lent its queues, killed or drained it",
            labels=["worker", "done"],
        )
        for number, counts in self._rescues.items():
            for done, count in counts.items():
                family.add_metric([number, done], count)
        return family

    def _durations(self) -> Metric:
        histogram = HistogramMetricFamily(
            "agent_proxy_exchange_seconds",
            "How long exchanges took, tunnels left out",
            labels=["worker", "direction"],
        )
        bounds = [*(str(bound) for bound in DURATION_BOUNDS_S), "+Inf"]
        for worker in self._workers:
            for direction, counts in worker["durations"].items():
                total = 0
                buckets = []
                for bound, count in zip(bounds, counts, strict=True):
                    total += count
                    buckets.append((bound, total))
                labels = [str(worker["worker"]), direction]
                seconds = worker["durationSums"].get(direction, 0)
                histogram.add_metric(labels, buckets, seconds)
        return histogram


def render(workers: list[dict[str, Any]], rescues: Rescues) -> bytes:
    """Return the text exposition of `workers`, snapshots as `admin` makes them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(workers, rescues))
    return generate_latest(registry)


def zones(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each zone with the problems that any worker has, and all workers' counts."""
    counts: dict[str, Counter[str]] = {}
    for worker in workers:
        for name, event, count in worker["zoneEvents"]:
            counts.setdefault(name, Counter())[event] += count
    found: dict[str, dict[str, Any]] = {}
    for worker in workers:
        for zone in worker["zones"]:
            seen = found.setdefault(zone["name"], {**zone, "problems": [], "connections": 0})
            seen["connections"] += zone["connections"]
            seen["problems"] = sorted({*seen["problems"], *zone["problems"]})
            seen["counts"] = dict(sorted(counts.get(zone["name"], Counter()).items()))
    return list(found.values())


def totals(workers: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return exchanges of all workers by direction and end."""
    found: dict[str, Counter[str]] = {}
    for worker in workers:
        for direction, end, count in worker["exchanges"]:
            found.setdefault(direction, Counter())[end] += count
    return {direction: dict(ends) for direction, ends in sorted(found.items())}
