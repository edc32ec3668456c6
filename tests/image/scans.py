"""What tools that we did not write say of the image: `python -m tests.image.scans IMAGE`.

The image is copied, a unit that runs judge.sh is written into the copy's file system from outside
(debugfs), and the copy is started beside the volume of `tools`. Nothing else is different.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.image import tools
from tests.image.machine import Machine, until
from tests.lab.network import Network

_JUDGE = Path(__file__).with_name("judge.sh")
_ROOT_AT_BYTES = 66 << 20  # packer/base.sh: where the root file system begins
_PATIENCE_S = 1500.0
_UNIT = """\
[Unit]
Description=Judge the image
[Service]
ExecStart=/bin/sh /etc/judge.sh
"""
_RULE = re.compile(r"Title\s+(.*?)\n\s*\nRule\s+\S*?_rule_(\S+).*?Result\s+(\w+)", re.DOTALL)


@dataclass(frozen=True)
class Profile:
    """One OpenSCAP profile: how many rules had which result, and which did not pass."""

    results: Counter[str]
    failed: dict[str, str]  # rule: title

    @property
    def evaluated(self) -> int:
        return sum(self.results[word] for word in ("pass", "fail", "error", "unknown"))

    @property
    def percent(self) -> float:
        return 100 * self.results["pass"] / max(1, self.evaluated)


def judge(image: Path, *, accelerator: str = "tcg", seed: Path | None = None) -> dict[str, str]:
    """Return what each tool said, by the name of its section in judge.sh."""
    with tempfile.TemporaryDirectory(prefix="judge-") as folder:
        home = Path(folder)
        copy = home / "image.raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", str(image), str(copy)], check=True)
        _add_unit(copy, home)
        said = home / "judge.txt"
        machine = Machine(home, "judged", copy, accelerator=accelerator)
        net = Network()
        try:
            net.switch("lan")
            extra = ["-drive", f"file={tools.volume()},format=raw,if=none,id=tools,readonly=on"]
            extra += ["-device", "virtio-blk-pci,drive=tools", "-serial", f"file:{said}"]
            machine.start(net, "lan", seed=seed, extra=extra)
            until("the tools are through", lambda: "==== end" in _text(said), _PATIENCE_S)
        finally:
            machine.cut()
            net.close()
        return _sections(_text(said))


def _text(path: Path) -> str:
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""


def _add_unit(disk: Path, home: Path) -> None:
    unit = home / "judge.service"
    unit.write_text(_UNIT)
    orders = f"""\
cd /etc
write {_JUDGE} judge.sh
cd /etc/systemd/system
write {unit} judge.service
cd multi-user.target.wants
symlink judge.service ../judge.service
"""
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", f"{disk}?offset={_ROOT_AT_BYTES}"],
        input=orders, capture_output=True, text=True, check=True,
    )  # fmt: skip
    if "not found" in done.stderr:
        raise AssertionError(done.stderr)


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^==== (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def profile(text: str) -> Profile:
    """Read what `oscap xccdf eval` printed."""
    rows = _RULE.findall(text)
    bad = {rule: title for title, rule, result in rows if result in ("fail", "error", "unknown")}
    return Profile(Counter(result for *_, result in rows), bad)


def main() -> int:
    found = judge(Path(sys.argv[1]))
    for name, text in found.items():
        if name.startswith("openscap"):
            one = profile(text)
            print(f"{name}: {one.percent:.1f} % of {one.evaluated}; {dict(one.results)}")
            for rule, title in one.failed.items():
                print(f"    {rule}: {title}")
        else:
            print(f"{name}\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
