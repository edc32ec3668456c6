"""What the demonstration shows: one numbered line per step, or which one failed and why."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn  # Any: documents of JSON

from tests.demo.places import Places, show
from tests.demo.supervision import Supervision
from tests.fakes.control import order

STEP_TIMEOUT_S = 30.0
POLL_S = 0.1
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says
_DIM, _GREEN, _PLAIN = "\033[2m", "\033[32m", "\033[0m"


class StepFailed(Exception):
    """`logs` are the files under var/log worth a look."""

    def __init__(self, title: str, why: str, logs: list[str]) -> None:
        super().__init__(f"{title}: {why}")
        self.title = title
        self.why = why
        self.logs = logs


class Steps:
    """Runs the steps in order; run() raises StepFailed."""

    def __init__(
        self,
        places: Places,
        supervision: Supervision,
        control: Path,
        *,
        proxy_id: str,
        workers: int,
        colour: bool,
    ) -> None:
        self._places = places
        self._supervision = supervision
        self._control = control
        self._proxy_id = proxy_id
        self._workers = workers
        self._colour = colour
        self._count = 0

    def run(self) -> None:
        places = self._places
        workers = [f"worker-{number}.log" for number in range(self._workers)]
        self._step("start", self._started, [*workers, "platform.log", "supervisord.log"])
        self._step("registration", self._registered, [*workers, "platform.log"])
        agents = [(host, "first") for host in places.first_agents] + [(places.last_agent, "last")]
        for number, (host, generation) in enumerate(agents, 1):
            title = f"handshake of agent-{number}"
            logs = [f"agent-{number}.log", *workers, "journal.log"]
            self._step(title, partial(self._shaken, host, generation), logs)
        for number, host in enumerate(places.first_agents, 1):
            title = f"routed call to agent-{number}"
            logs = [f"agent-{number}.log", *workers, "platform.log"]
            self._step(title, partial(self._called, host, f"agent-{number}"), logs)
        number = len(agents)
        logs = [f"agent-{number}.log", *workers, "platform.log"]
        self._step(f"command to agent-{number}", partial(self._commanded, f"agent-{number}"), logs)

    # The steps: each returns what to show, or raises -----------------------------------------

    def _started(self) -> list[str]:
        self._wait_until("ready", self._is_ready)
        count = len(self._supervision.processes())
        return [
            f"{count} processes: {self._workers} workers on {show(self._places.proxy)}, "
            f"platform on {show(self._places.platform)}, "
            f"{len(self._places.first_agents) + 1} agents"
        ]

    def _is_ready(self) -> bool:
        url = f"http://{show(self._places.admin)}/ready"
        try:
            with _DIRECT.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refusal:
            with refusal:
                said = refusal.read(300).decode("utf-8", "replace").strip()
            raise RuntimeError(f"{url} says {refusal.code}: {said}") from None

    def _registered(self) -> list[str]:
        answer = self._wait_until("answer", lambda: order(self._control, "POST", "/register"))
        came = answer["agentProxyId"]
        if came != self._proxy_id:
            self._fail(f"{came} came back, but {self._proxy_id} is configured")
        zones = ", ".join(
            zone if isinstance(zone, str) else str(zone.get("name")) for zone in answer["zones"]
        )
        return [
            f"ID {came} came back, the one configured; version {answer['version']}, zone {zones}"
        ]

    def _shaken(self, host: str, generation: str) -> list[str]:
        def known() -> Any:
            for agent in order(self._control, "GET", "/agents"):
                if agent["address"] == host and (generation == "first" or agent["connected"]):
                    return agent
            return None

        agent = self._wait_until("handshake", known)
        way = "HTTPS request" if generation == "first" else "WebSocket"
        return [
            f"{generation} generation, {way}, agentID {agent['agent_id']}, "
            f"seen as {agent['address']} in zone {agent['zone']}",
            f"return route {agent['route']}",
        ]

    def _called(self, host: str, name: str) -> list[str]:
        told = {"agent": host, "target": "/agent/instruction", "body": "report uptime"}
        answer = order(self._control, "POST", "/call", told)
        if answer["status"] != 200:
            self._fail(f"answered {answer['status']}: {answer['body'][:300]}")
        document = json.loads(answer["body"])
        leaked = [field for field, _ in document["headers"] if field.lower() == "agent-route"]
        if document["agent"] != name or document["body"] != told["body"] or leaked:
            self._fail(f"unexpected answer: {answer['body'][:300]}")
        return [
            f"200 in {answer['ms']:.1f} ms by its return route; {document['agent']} was asked "
            f"{document['asked']!r}: {document['body']!r}"
        ]

    def _commanded(self, name: str) -> list[str]:
        told = {"agent": self._places.last_agent, "command": "list_devices"}
        answer = order(self._control, "POST", "/command", told)
        reply = answer["reply"]
        if reply.get("agent") != name or reply.get("return_code") != 0:
            self._fail(f"unexpected reply: {reply}")
        return [
            f"list_devices acknowledged and replied to in {answer['ms']:.1f} ms "
            f"over the WebSocket; return code {reply['return_code']}"
        ]

    # How they are run ------------------------------------------------------------------------

    def _step(self, title: str, act: Callable[[], list[str]], logs: list[str]) -> None:
        self._count += 1
        try:
            first, *others = act()
        except (OSError, RuntimeError, LookupError, ValueError) as fault:
            raise StepFailed(f"step {self._count}, {title}", str(fault) or repr(fault), logs) from (
                fault
            )
        print(f" {self._paint(_GREEN, f'{self._count:>2}')}  {title:<23} {first}", flush=True)
        for line in others:
            print(f"     {'':<23} {self._paint(_DIM, line)}", flush=True)

    def _wait_until(self, what: str, condition: Callable[[], Any]) -> Any:
        """The first true value of `condition`. Raises: RuntimeError with its last complaint."""
        deadline = time.monotonic() + STEP_TIMEOUT_S
        complaint = ""
        while time.monotonic() < deadline:
            try:
                value = condition()
                if value:
                    return value
            except (OSError, RuntimeError, LookupError, ValueError) as fault:
                complaint = str(fault)
            self._require_processes()
            time.sleep(POLL_S)
        raise RuntimeError(f"no {what} within {STEP_TIMEOUT_S:g} s; {complaint}".rstrip("; "))

    def _require_processes(self) -> None:
        try:
            processes = self._supervision.processes()
        except (OSError, xmlrpc.client.Error) as fault:
            raise StepFailed("supervisord", f"is gone: {fault}", ["supervisord.log"]) from fault
        if any(process.state == "FATAL" for process in processes):
            ailing = [process for process in processes if process.state in ("FATAL", "BACKOFF")]
            why = "; ".join(f"{process.name}: {process.note}" for process in ailing)
            logs = [f"{process.name}.log" for process in ailing]
            raise StepFailed(f"step {self._count}, processes given up", why, logs)

    def _fail(self, why: str) -> NoReturn:
        raise RuntimeError(why)

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colour else text
