"""Build each network, show what it proves; exit code 1 where something does not hold."""

from __future__ import annotations

import sys
import time

from tests.lab.cast import Lab
from tests.lab.network import Missing, require
from tests.lab.scenarios import SCENARIOS


def say(line: str) -> None:
    print(line, flush=True)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        say(f"no scenario {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
        return 2
    try:
        require("nft", "haproxy")
    except Missing as missing:
        say(f"SKIPPED: {missing}")
        return 0
    failed, skipped = [], []
    for name in names or list(SCENARIOS):
        started = time.monotonic()
        say(f"== {name}: {SCENARIOS[name].__doc__}")
        try:
            with Lab(say) as lab:
                SCENARIOS[name](lab)
        except Missing as missing:
            say(f"   SKIPPED  {missing}")
            skipped.append(name)
        except (AssertionError, RuntimeError, OSError) as fault:
            say(f"   FAILED   {fault}")
            failed.append(name)
        say(f"   {time.monotonic() - started:.1f} s")
    last = f"FAILED: {', '.join(failed)}" if failed else "all scenarios that were tried hold"
    say(f"{last}; SKIPPED: {', '.join(skipped)}" if skipped else last)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
