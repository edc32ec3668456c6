"""Stand-in agents of both generations, each on its own loopback address.

    python -m tests.fakes.agents first --address 127.0.1.1 --proxy 127.0.0.1:2002 --ca proxy.crt
    python -m tests.fakes.agents last --address 127.0.1.3 --proxy 127.0.0.1:2002 --ca proxy.crt

With --ca the proxy's certificate and name are verified (environment=production), without it they
are not (environment=staging).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.fakes.first_agent import FirstAgent
from tests.fakes.last_agent import LastAgent
from tests.fakes.wire import Service, parse_address, run_until_signal

__all__ = ["FirstAgent", "LastAgent"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Stand-in agents")
    parser.add_argument("generation", choices=("first", "last"))
    parser.add_argument("--address", required=True, help="own address, dials from and listens on")
    parser.add_argument("--proxy", type=parse_address, default=("127.0.0.1", 2002))
    parser.add_argument("--port", type=int, default=2003, help="first generation listens here")
    parser.add_argument("--name", default="")
    parser.add_argument("--ca", type=Path, help="verify the proxy against this certificate")
    parser.add_argument("--retry", type=float, default=300.0, help="seconds, first generation")
    parser.add_argument("--period", type=float, default=300.0, help="seconds, first generation")
    options = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)

    agent: Service
    if options.generation == "first":
        agent = FirstAgent(
            options.proxy,
            address=options.address,
            port=options.port,
            name=options.name,
            ca=options.ca,
            retry_s=options.retry,
            period_s=options.period,
            say=say,
        )
    else:
        agent = LastAgent(
            options.proxy, address=options.address, name=options.name, ca=options.ca, say=say
        )
    return run_until_signal(agent)


if __name__ == "__main__":
    raise SystemExit(main())
