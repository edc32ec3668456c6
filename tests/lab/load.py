"""A load of short requests from one VM: new connection each, as first-generation agents do.

python -m tests.lab.load HOST:PORT SOURCE SECONDS     prints one JSON object

`failed` has [client, begun, ended, fault] of each request that failed, `requests` [begun, ended]
of all: seconds of a clock that the whole machine shares.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from tests.fakes.messages import ask
from tests.fakes.wire import client_context, closing, dial, parse_address

THREADS = 4


def main() -> int:
    proxy, source, seconds = parse_address(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    context = client_context(None)
    end = time.monotonic() + seconds
    requests: list[tuple[float, float]] = []
    done: list[float] = []
    failed: list[tuple[int, float, float, str]] = []

    def work(client: int) -> None:
        while (begun := time.monotonic()) < end:
            fault = ""
            try:
                with closing(dial(proxy, context, source=source)) as sock:
                    sock.settimeout(10)
                    fields = [("Host", "proxy"), ("Connection", "close")]
                    reply = ask(sock, "POST", "/services/agent/alive", fields, b"{}")
                if reply.status != 200:
                    raise OSError(f"status {reply.status}")
            except OSError as error:
                fault = repr(error)
            ended = time.monotonic()
            requests.append((begun, ended))
            if fault:
                failed.append((client, begun, ended, fault))
            else:
                done.append(ended)

    threads = [threading.Thread(target=work, args=(client,)) for client in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.sort()
    gaps = [later - earlier for earlier, later in zip(done, done[1:], strict=False)]
    slowest = max((ended - begun for begun, ended in requests), default=99.0)
    report = {"done": len(done), "failed": failed, "gap": max(gaps, default=99.0)}
    print(json.dumps({**report, "slowest": slowest, "requests": requests}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
