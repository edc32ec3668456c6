"""make soak: exit 0 when memory is flat, nothing was lost and nothing came twice."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from .run import soak
from .verdict import FEWEST, WARM_UP, rate_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=float, default=100, help="agents' requests a second")
    parser.add_argument("--tunnels", type=int, default=100)
    parser.add_argument(
        "--growth", type=float, default=2, help="MiB by which a worker may grow through the run"
    )
    parser.add_argument("--out", type=Path, default=Path("var/soak"))
    given = parser.parse_args()
    limit = rate_of(given.growth, given.seconds)
    with tempfile.TemporaryDirectory(prefix="soak-") as home:
        lines, wrong = soak(Path(home), given.out, given.seconds, given.rate, given.tunnels, limit)
    print("\n".join(lines))
    print(
        f"\nFlat: growth of {given.growth:g} MiB through the run, {limit:.1f} KiB/min, is ruled "
        f"out by the troughs between faults of one kind, after {WARM_UP:.0%} of a process's life "
        f"as warm-up; fewer than {FEWEST} troughs are not judged."
    )
    print(f"{given.out}/soak.svg, workers.csv and latency.csv are written.")
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print("FAILED" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
