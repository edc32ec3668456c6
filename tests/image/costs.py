"""What a start of the image takes, in seconds and in memory: `python -m tests.image.costs [IMAGE]`.

One machine of the size that the OVF names (2 vCPU, 1024 MiB) is set up by a NoCloud volume, looked
at, powered off and started again: the first start makes keys, a certificate and settings, every
other one does not. An agent dials all the time from power-on. docs/image.md has the figures.

Memory in use is MemTotal - MemAvailable of /proc/meminfo (what `free` calls used), two minutes
after the start is over and the agents are gone, with nobody at the console.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from tests.image.conftest import ACCELERATOR, ANSWERS
from tests.image.machine import Machine, until
from tests.image.seeds import nocloud
from tests.lab.cast import Lab

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 3600.0
_SETTLED_S = float(os.environ.get("SETTLED", "120"))
# The steps of a start that an agent waits for: what has begun when, and how long it took.
_UNITS = (
    "systemd-udevd systemd-journald agent-proxy-firewall auditd systemd-networkd sysinit.target "
    "agent-proxy-first-boot agent-proxy-grow systemd-networkd-wait-online network-online.target "
    "agent-proxy agent-proxy-console@tty1 serial-getty@ttyS0 multi-user.target"
).split()
_PROCESSES = r"""
for p in /proc/[0-9]*; do
    pss=$(sed -n 's/^Pss: *\([0-9]*\) kB/\1/p' $p/smaps_rollup 2>/dev/null)
    own=$(sed -n 's/^Private_Dirty: *\([0-9]*\) kB/\1/p' $p/smaps_rollup 2>/dev/null)
    [ -z "$pss" ] || echo "$pss $own $(tr '\0' ' ' <$p/cmdline | cut -c1-110)"
done | sort -rn | awk '{ pss += $1; own += $2; if (NR <= 24) print }
    END { print pss, own, "all processes: kB of Pss, private and dirty" }'
"""
_KERNEL = (
    "grep -E '^(MemTotal|MemFree|MemAvailable|Cached|Buffers|Shmem|Slab|SReclaimable|SUnreclaim|"
    "KernelStack|PageTables|Percpu|VmallocUsed|AnonPages|Mapped|Active.file|Inactive.file):' "
    "/proc/meminfo"
)


def _stamps() -> str:
    """A line of shell: when each unit was begun and active, in seconds since the kernel's start."""
    asked = "InactiveExitTimestampMonotonic ActiveEnterTimestampMonotonic"
    words = " ".join(f"-p {name}" for name in asked.split())
    return (
        f"for u in {' '.join(_UNITS)}; do systemctl show {words} $u | tr '\\n' ' ' | "
        "sed -E 's/[A-Za-z]+=([0-9]*)/\\1/g' | "
        "awk -v u=$u '{ printf \"%8.1f %8.1f  %s\\n\", $1 / 1e6, $2 / 1e6, u }'; done"
    )


def _took(machine: Machine, begun: float) -> str:
    return f"{time.monotonic() - begun:6.1f} s, {machine.processor_s:6.1f} s of a processor"


def _told(machine: Machine, title: str, script: str) -> None:
    _, said = machine.shell.try_run(script)
    print(f"-- {title}\n{said.rstrip()}", flush=True)


def _one_start(lab: Lab, machine: Machine, begun: float, tag: str) -> None:
    agents = []
    # One after the other: the last generation waits twice as long after each attempt in vain.
    for generation, vm, address in (("first", "vm-1", "10.1.2.7"), ("last", "vm-2", "10.1.2.8")):
        name = f"{generation}-{tag}"
        agents.append(lab.agent(vm, generation, address, "10.1.2.3:2002", name))
        lab.until(f"handshake of {name}", lambda name=name: _knows(lab, name), _PATIENCE_S)
        print(f"{_took(machine, begun)}  handshake, {generation} generation", flush=True)
    lab.shake_and_call(f"first-{tag}", f"last-{tag}")
    for agent in agents:
        lab.end(agent, kill=True)
    machine.shell.run("systemctl", "is-system-running", "--wait")
    print(f"{_took(machine, begun)}  systemd: running", flush=True)
    up = float(machine.shell.run("cut", "-d ", "-f1", "/proc/uptime"))
    print(f"{time.monotonic() - up - begun:6.1f} s  firmware and boot loader", flush=True)
    _told(machine, "systemd-analyze", "systemd-analyze; systemd-analyze blame | head -n 40")
    _told(machine, "chain", "systemd-analyze critical-chain agent-proxy.service")
    _told(machine, "units: begun, active", _stamps())


def _memory(machine: Machine) -> None:
    time.sleep(_SETTLED_S)
    script = (
        "awk '/^MemTotal/ { t = $2 } /^MemAvailable/ { a = $2 } "
        'END { printf "%d MiB of %d in use\\n", (t - a) / 1024, t / 1024 }\' /proc/meminfo'
    )
    _told(machine, "memory", script)
    _told(machine, "kernel's own words", _KERNEL)
    _told(machine, "processes: kB Pss, kB private and dirty", _PROCESSES)
    _told(machine, "tmpfs", "df -k -t tmpfs -t devtmpfs --output=used,target")
    _told(machine, "load", "cat /proc/loadavg; ps -eo etimes,time,pid,args --sort=-time | head -20")


def _knows(lab: Lab, name: str) -> bool:
    return name in {agent["name"] for agent in lab.order("GET", "/agents")}


def main() -> None:
    parser = argparse.ArgumentParser(description="What a start of the image takes")
    parser.add_argument("image", type=Path)
    parser.add_argument("--script", default="", help="further lines of shell, after the figures")
    options = parser.parse_args()
    with Lab(print) as lab, tempfile.TemporaryDirectory(prefix="costs-") as home:
        lab.net.switch("lan")
        lab.net.machine("platform", "vm-1", "vm-2")
        for name, host in (("platform", 9), ("vm-1", 7), ("vm-2", 8)):
            lab.net.attach(name, "eth0", "lan", f"10.1.2.{host}/24")
        lab.platform("platform", "10.1.2.9:3302", "10.1.2.3:2002")
        seed = nocloud(Path(home) / "seed.img", {**ANSWERS, "proxy.id": "45BCEBB32AA9"})
        machine = Machine(Path(home), "costs", options.image, accelerator=ACCELERATOR)
        try:
            for tag in ("first start", "second start"):
                print(f"== {tag}: from power-on, by {ACCELERATOR}", flush=True)
                begun = time.monotonic()
                machine.start(lab.net, "lan", seed=seed, shell=True)
                _one_start(lab, machine, begun, tag.partition(" ")[0])
                _memory(machine)
                if options.script:
                    _told(machine, "asked", options.script)
                machine.shell.begin("systemctl poweroff")
                until("the machine is off", lambda: not machine.is_on)
                machine.cut()
        finally:
            machine.cut()


if __name__ == "__main__":
    main()
