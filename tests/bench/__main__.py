"""Run the benchmark: `python -m tests.bench [--quick] [--only SCENARIO] ...`.

Exit status: 0 measured and every target reached, 1 something failed and there is no result,
3 measured and a target was missed. A full run rewrites docs/performance.md and its picture.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from . import report, scenarios
from .programs import BenchError
from .proxies import NAMES, REPOSITORY, Bench, free_ports

_TIME_LIMIT_S = 1800
_TOOLS = ("nginx", "haproxy", "wrk")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        print(f"bench: not installed: {', '.join(missing)} (apt-get install)", file=sys.stderr)
        return 1
    names = tuple(options.proxies.split(",")) if options.proxies else NAMES
    wanted = options.only or list(scenarios.ALL)
    sizes = scenarios.QUICK if options.quick else scenarios.Sizes()
    full = not (options.quick or options.only or options.proxies or options.runs)
    if options.runs:
        sizes = replace(sizes, runs=options.runs)
    results = scenarios.Results()
    begin = time.monotonic()
    try:
        _bound()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            bench = Bench(Path(folder), free_ports(options.first_port))
            for scenario in wanted:
                print(f"==> {scenario}: {scenarios.ALL[scenario].__doc__}", flush=True)
                scenarios.ALL[scenario](
                    scenarios.Measurement(bench, names, sizes, results),
                )
    except BenchError as error:
        print(f"bench: FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 1
    rows = report.rows(results.values)
    print("\n" + report.table(rows) + f"\n\n{time.monotonic() - begin:.0f} s in all")
    if options.quick:
        print("quick: too little work to judge, nothing written")
        return 0
    if full:
        report.write(REPOSITORY / "docs", rows, results.values)
        print("written: docs/performance.md, docs/performance.svg")
    return 3 if any(row.reached is False for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Compare the agent proxy with nginx and HAProxy doing the same job.",
        epilog="example: python -m tests.bench --only keepalive --proxies nginx,HAProxy",
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: does it work at all?")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(scenarios.ALL),
        help="this scenario only; may be given several times; writes no file",
    )
    parser.add_argument("--proxies", help=f"some of: {','.join(NAMES)}; writes no file")
    parser.add_argument("--runs", type=int, help="runs of each scenario (3); writes no file")
    parser.add_argument("--first-port", type=int, default=21000, help="use free ports from here up")
    return parser


def _bound() -> None:
    """Bound the whole run in time, and raise the descriptor limit as far as it goes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    main_process = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != main_process:  # a forked client: just end
            os._exit(1)
        signals = {signal.SIGALRM: f"longer than {_TIME_LIMIT_S} s", signal.SIGTERM: "terminated"}
        raise BenchError(signals[signal.Signals(number)])

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.alarm(_TIME_LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
