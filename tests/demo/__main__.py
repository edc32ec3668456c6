"""`make run`.

python -m tests.demo                        stand-ins and the proxy between them, step by step
python -m tests.demo --conf PATH/proxy.ini  the proxy alone, for a real platform
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from proxy import configuration
from proxy.errors import ConfigurationProblems
from proxy.shapes import Settings
from tests.demo import belongings
from tests.demo.belongings import Belongings
from tests.demo.places import Places, Taken, require_free, show
from tests.demo.steps import StepFailed, Steps
from tests.demo.supervision import NotStarted, Supervision
from tests.fakes.certificates import self_signed

ROOT = Path(__file__).resolve().parents[2]
MANUAL = ROOT / "conf" / "proxy.ini"
WATCH_S = 1.0
START_TIMEOUT_S = 30.0
_SECRET = "AGENT_PROXY_PROXY_SECRET"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__.splitlines()[0])
    parser.add_argument("--conf", type=Path, help="proxy.ini for a real platform; no stand-ins")
    parser.add_argument("--var", type=Path, default=ROOT / "var", help="default: var")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--once", action="store_true", help="end after the steps")
    parser.add_argument("--offset", type=int, default=0, help="add to every port of the stand-ins")
    options = parser.parse_args()
    for ends in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ends, _interrupt)
    var = options.var.resolve()
    own = belongings.prepare(var)
    try:
        conf = (options.conf or MANUAL).resolve()
        settings = configuration.load(str(conf))
        if options.conf or settings.upstream.endpoints:
            return _run_for_real(conf, settings, var, own, options.workers)
        places = Places(options.offset)
        require_free(places.all())
        return _demonstrate(var, own, places, options.workers, once=options.once)
    except (Taken, NotStarted, OSError, ConfigurationProblems) as fault:
        print(f"make run: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


# The demonstration -------------------------------------------------------------------------------


def _demonstrate(var: Path, own: Belongings, places: Places, workers: int, *, once: bool) -> int:
    demo = var / "demo"
    platform = self_signed(demo, "platform", (places.platform_host,))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most_fds = sys.maxsize if hard == resource.RLIM_INFINITY else hard
    conf = demo / "proxy.ini"
    belongings.derive_configuration(MANUAL, conf, own, places, platform.certificate, most_fds)
    control = demo / "platform.sock"
    programs = demo / "programs.conf"
    belongings.write_programs(programs, ROOT, var, own, places, control)
    fds = _descriptors(configuration.load(str(conf)))
    supervision = Supervision(ROOT, var, conf, str(programs), workers=workers, fds=fds)
    print("The agent proxy between a stand-in platform and three stand-in agents; Ctrl-C ends it\n")
    _show_belongings(var, own)
    steps = Steps(
        places,
        supervision,
        control,
        proxy_id=own.proxy_id,
        workers=workers,
        colour=sys.stdout.isatty(),
    )
    with _ended(supervision):
        supervision.start({})
        try:
            steps.run()
        except StepFailed as failure:
            _show_failure(supervision, failure)
            return 1
        _show_further(var, places, control)
        return 0 if once else _watch(supervision)
    return 0


def _show_belongings(var: Path, own: Belongings) -> None:
    made = f"made: {', '.join(own.made)}" if own.made else "kept from an earlier run"
    print(f"     {'proxy ' + own.proxy_id:<23} {_short(var)}/ holds its ID, secret and certificate")
    print(f"     {'':<23} {made}")


def _show_failure(supervision: Supervision, failure: StepFailed) -> None:
    print(f"\n FAILED  {failure.title}\n         {failure.why}", file=sys.stderr)
    for name in failure.logs:
        lines = supervision.last_lines(name)
        if lines:
            print(f"\n{_short(supervision.var / 'log' / name)}, last lines:", file=sys.stderr)
            print("\n".join(f"  {line}" for line in lines), file=sys.stderr)


def _show_further(var: Path, places: Places, control: Path) -> None:
    further = {
        "processes": _supervisorctl(var) + " status",
        "status": f"curl http://{show(places.admin)}/status",
        "every exchange": f"tail -f {_short(var)}/log/access-*.log",
        "the proxy's log": f"tail -f {_short(var)}/log/worker-*.log",
        "what platform saw": f"tail -f {_short(var)}/log/journal.log",
        "agents it knows": f"curl --unix-socket {_short(control)} http://platform/agents",
    }
    print("\nAll steps succeeded. Look further, from another terminal:\n")
    for what, command in further.items():
        print(f"     {what:<23} {command}")
    print(flush=True)


# The real thing ----------------------------------------------------------------------------------


def _run_for_real(conf: Path, settings: Settings, var: Path, own: Belongings, workers: int) -> int:
    if not Path(settings.listen.certificate).exists():
        raise NotStarted(
            f"no certificate at {settings.listen.certificate}; make one with "
            f"`agent-proxy certificate self-signed --conf {_short(conf)}`"
        )
    listening = [("proxy", (host, settings.listen.port)) for host in settings.listen.addresses]
    admin = ("admin listener", (settings.admin.address, settings.admin.port))
    require_free([*listening, admin])
    fds = _descriptors(settings)
    _require_descriptors(fds)
    supervision = Supervision(ROOT, var, conf, "", workers=workers, fds=fds)
    extra = {} if settings.proxy.secret else {_SECRET: own.secret.read_text().strip()}
    if not settings.proxy.id:
        print(f"No [proxy] id in {_short(conf)}: the platform cannot register this proxy.")
        print(f"One was made for you: id = {own.proxy_id}\n")
    with _ended(supervision):
        supervision.start(extra)
        _wait_until_running(supervision)
        if not supervision.failed():
            _show_running(conf, settings, var, workers)
        return _watch(supervision)
    return 0


def _show_running(conf: Path, settings: Settings, var: Path, workers: int) -> None:
    print(f"The agent proxy runs by {_short(conf)}, {workers} workers; Ctrl-C ends it\n")
    admin_url = f"http://{show((settings.admin.address, settings.admin.port))}"
    print(f"     {'processes':<23} {_supervisorctl(var)} status")
    print(f"     {'ready?':<23} curl {admin_url}/ready")
    print(f"     {'status':<23} curl {admin_url}/status")
    print(f"     {'logs':<23} {_short(var)}/log/worker-*.log, access-*.log", flush=True)


def _wait_until_running(supervision: Supervision) -> None:
    """Until all run or one is given up; _watch tells which."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        states = {process.state for process in supervision.processes()}
        if states == {"RUNNING"} or "FATAL" in states:
            return
        time.sleep(0.1)


def _watch(supervision: Supervision) -> int:
    """Stay until Ctrl-C, or until supervisord ends or gives a program up."""
    while supervision.is_alive():
        failed = supervision.failed()
        if failed:
            names = ", ".join(process.name for process in failed)
            logs = [f"{process.name}.log" for process in failed]
            _show_failure(supervision, StepFailed(f"given up: {names}", failed[0].note, logs))
            return 1
        time.sleep(WATCH_S)
    print("supervisord ended", file=sys.stderr)
    return 1


@contextlib.contextmanager
def _ended(supervision: Supervision) -> Iterator[None]:
    """Whatever happens inside: no process is left. Ctrl-C is the ordinary way out."""
    try:
        yield
    except KeyboardInterrupt:
        print()
    finally:
        for ends in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ends, signal.SIG_IGN)  # ending has deadlines of its own
        print("Ending: agents, then workers, then the platform ...", flush=True)
        supervision.end(print)
        print("Every process has ended.")


def _descriptors(settings: Settings) -> int:
    """Of one worker: both sides of every connection, and what it needs for itself."""
    return 2 * settings.limits.connections + 512


def _require_descriptors(wanted: int) -> None:
    """Raises: NotStarted. Root may raise the limit, and supervisord does."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted and os.geteuid() != 0:
        raise NotStarted(
            f"every worker needs {wanted} file descriptors, the limit is {hard}; raise it "
            f"(ulimit -Hn {wanted}) or set [limits] connections = {(hard - 512) // 2}"
        )


def _supervisorctl(var: Path) -> str:
    program = Path(sys.executable).parent / "supervisorctl"
    return f"{_short(program)} -s unix://{var / 'run' / 'supervisor.sock'}"


def _short(path: Path) -> str:
    """As typed from the current directory."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    raise SystemExit(main())
