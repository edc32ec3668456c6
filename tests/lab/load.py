"""A load of short requests from one VM: new connection each, as first-generation agents do.

python -m tests.lab.load HOST:PORT SOURCE SECONDS     prints one JSON object
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
    done: list[float] = []
    failed: list[str] = []

    def work() -> None:
        while time.monotonic() < end:
            try:
                with closing(dial(proxy, context, source=source)) as sock:
                    sock.settimeout(10)
                    fields = [("Host", "proxy"), ("Connection", "close")]
                    reply = ask(sock, "POST", "/services/agent/alive", fields, b"{}")
                if reply.status != 200:
                    raise OSError(f"status {reply.status}")
                done.append(time.monotonic())
            except OSError as fault:
                failed.append(repr(fault))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.sort()
    gaps = [later - earlier for earlier, later in zip(done, done[1:], strict=False)]
    print(json.dumps({"done": len(done), "failed": failed, "gap": max(gaps, default=99.0)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
