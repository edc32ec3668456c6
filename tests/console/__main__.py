"""`python -m tests.console ROOT [--recorded [--new]]`: the console on this terminal.

For the machine below ROOT; with --recorded for a machine that was written down, whose programs
answer from a table and whose clock stands still (tests/unit/appliance/recorded); with --new it
waits for the answers of its first boot.
"""

from __future__ import annotations

import sys
from pathlib import Path

from appliance import first_boot
from appliance.console import Console
from appliance.system import System
from appliance.terminal import Terminal
from appliance.verb import CONF
from tests.unit.appliance.machines import recorded

if __name__ == "__main__":
    root = Path(sys.argv[1])
    system = recorded(root) if "--recorded" in sys.argv else System(str(root))
    if "--recorded" in sys.argv:
        sys.prefix = "/opt/agent-proxy/venv"  # as installed: screens say nothing of this clone
        system.write("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n")
    if "--recorded" in sys.argv and "--new" not in sys.argv:
        system.write(first_boot.COMPLETE, b"")
    with Terminal().open() as terminal:
        Console(system, CONF, terminal).run()
