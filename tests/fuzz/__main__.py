"""make fuzz: each target for FUZZ_SECONDS, with libFuzzer's progress; exit 1 on a finding.

    python -m tests.fuzz [--seconds N] [--target NAME]... [--keep]

New inputs gather below var/fuzz; `--keep` copies the small ones to tests/fuzz/kept. A
finding is written to var/fuzz/NAME/crash-*; make a corpus file of it, then mend what it shows.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "var" / "fuzz"
NAMES = ("request", "response", "routes", "proxy_header", "ini")
MAX_BYTES = {"request": 1024, "response": 1024, "routes": 512, "proxy_header": 300, "ini": 2048}
KEPT_BYTES, KEPT_FILES = 512, 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=NAMES)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--inside", choices=NAMES, help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if importlib.util.find_spec("atheris") is None:
        version = ".".join(map(str, sys.version_info[:2]))
        print(f"SKIPPED fuzz: no atheris for Python {version} (requirements-fuzz.txt)")
        return 0
    if options.inside:
        return _inside(options.inside, rest)
    findings = 0
    for name in options.target or NAMES:
        findings += _fuzz(name, options.seconds)
        if options.keep:
            _keep(name)
    print(f"==> {findings} findings")
    return 1 if findings else 0


def _inside(name: str, rest: list[str]) -> int:
    """The process that libFuzzer lives in. Never returns: it ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=["proxy"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *rest], TARGETS[name])
    atheris.Fuzz()
    return 0


def _libfuzzer(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz", "--inside", name, *arguments],
        cwd=HERE.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _fuzz(name: str, seconds: int) -> int:
    """Fuzz one target and show how it goes; return 1 on a finding."""
    from tests.fuzz.targets import seeds

    work = WORK / name
    new = work / "corpus"
    new.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (new / f"seed-{number:03}").write_bytes(seed)
    print(f"==> {name}: {seconds} s", flush=True)
    began = time.monotonic()
    process = _libfuzzer(
        name,
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES[name]}",
        f"-artifact_prefix={work}/",
        "-print_final_stats=1",
        str(new),
        str(HERE / "kept" / name),
    )
    assert process.stdout is not None
    tail: list[str] = []
    executions, edges = "", ""
    for line in process.stdout:
        tail = [*tail[-25:], line.rstrip()]
        if re.match(r"#\d+\s+(pulse|INITED|DONE)", line):
            print("   ", line.rstrip(), flush=True)
        if found := re.match(r"stat::number_of_executed_units:\s*(\d+)", line):
            executions = found[1]
        if found := re.match(r"#\d+\s.*\bcov: (\d+)", line):
            edges = found[1]
    code = process.wait()
    took = time.monotonic() - began
    reached = f"{executions or '?'} executions, {edges or '?'} edges"
    print(f"    {reached} in {took:.0f} s, exit code {code}", flush=True)
    if code:
        print("\n".join(tail))
    return 1 if code else 0


def _keep(name: str) -> None:
    """Copy what reached something new, small inputs only, into tests/fuzz/kept."""
    kept = HERE / "kept" / name
    kept.mkdir(parents=True, exist_ok=True)
    new = [path for path in (WORK / name / "corpus").iterdir() if path.name[:5] != "seed-"]
    small = [path for path in new if path.stat().st_size <= KEPT_BYTES]
    for path in sorted(small, key=lambda path: (path.stat().st_size, path.name))[:KEPT_FILES]:
        (kept / path.name[:16]).write_bytes(path.read_bytes())
    print(f"    {len(list(kept.iterdir()))} inputs kept of {name}")


if __name__ == "__main__":
    sys.exit(main())
