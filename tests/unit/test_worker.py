"""The worker's own loops, without a worker: what a defect in one round does to the next."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from proxy import worker
from proxy.worker import Worker


def test_a_defect_in_a_probe_of_the_upstream_ends_that_probe_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "_PROBE_EVERY_S", 0)
    seen: list[type[BaseException]] = []
    hub: Any = gevent.get_hub()
    monkeypatch.setattr(hub, "print_exception", lambda context, kind, *_: seen.append(kind))
    probes = 0

    def probe() -> None:
        nonlocal probes
        probes += 1
        if probes == 1:
            raise RuntimeError("a defect")

    owner: Any = SimpleNamespace(node=SimpleNamespace(upstream=SimpleNamespace(probe=probe)))
    loop = gevent.spawn(Worker._probe_forever, owner)
    with gevent.Timeout(10):
        while probes < 3:
            gevent.sleep(0)
    gevent.kill(loop)
    assert seen == [RuntimeError]
