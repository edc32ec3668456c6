"""One worker process: listeners, budgets, reload, drain, exit code.

Shell. Neighbours: `configuration` reads the settings, `listener` accepts, `connection` serves,
`admin` shows. supervisord starts as many as there are cores; they share nothing but the port.

    SIGHUP   read the configuration and certificates again; a bad one changes nothing
    SIGTERM  drain: not ready at once, accept for [drain] delay, finish within [drain] timeout
"""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket
import time
from typing import Any, Final

import gevent
from gevent.event import Event
from greenlet import getcurrent, greenlet

from proxy import __version__, cautions, configuration, introduction, logs, memory
from proxy.admin import Admin
from proxy.callers import Caller
from proxy.connection import Connection
from proxy.deadline import Deadlines
from proxy.descriptors import fitting
from proxy.duplicates import Sightings
from proxy.entrances import Entrances
from proxy.errors import BadProxyHeader, ConfigurationProblems
from proxy.handover import Handover, Set
from proxy.lookout import Lookout
from proxy.node import Node
from proxy.places import Places
from proxy.resolver import Resolver
from proxy.settings import Zone
from proxy.telemetry import Telemetry

_log = logging.getLogger(__name__)

_PROBE_EVERY_S: Final = 15.0
_TIDY_EVERY_S: Final = 1.0
_DRAINED_IDLE_S: Final = 1.0
_SPARE_GREENLETS: Final = 64
_WARN_EVERY_S: Final = 10.0


def run(conf_path: str, number: int) -> int:
    """Run worker `number` until SIGTERM; return the exit code: 0 drained, 2 cannot start."""
    logs.start("info", "plain", number)
    logs.leave_no_core()
    asked_early: list[int] = []  # SIGHUP would end a process that has no handler yet
    signal.signal(signal.SIGHUP, lambda *_: asked_early.append(1))
    hub: Any = gevent.get_hub()  # a method that is meant to be replaced
    hub.print_exception = logs.uncaught_in_greenlet
    try:
        settings = configuration.load(conf_path)
        logs.start(settings.log.level, settings.log.format, number)
        hub.resolver = Resolver(hub, settings.timeouts.resolve)
        worker = Worker(conf_path, number, Node(settings))
        worker.open()
    except ConfigurationProblems as problems:
        for problem in problems.problems:
            _log.error("configuration: %s", problem)
        return 2
    except OSError as error:
        _log.error("cannot start: %s", error)
        return 2
    if asked_early:  # the file may have been read before it was changed
        worker.reload()
    worker.serve()
    return 0


class Worker:
    """Holds what all connections of one process share."""

    def __init__(self, conf_path: str, number: int, node: Node) -> None:
        settings = node.settings
        self.number = number
        self.node = node
        self._hub: Any = gevent.get_hub()  # with methods that are meant to be replaced
        self.draining = self.starved = False
        self.deadlines = Deadlines()
        self.telemetry = Telemetry(number, settings.log.format, access=settings.log.access)
        self.sightings = Sightings(f"{os.getpid()}-{time.monotonic()}")
        self.connections: set[Connection] = set()
        self.places = Places(settings, fitting(settings))
        self.reload_problems: list[str] = []
        self._former: list[tuple[Node, set[Connection]]] = []
        self._conf_path = conf_path
        self.entrances = Entrances(self._accept)
        self._unnamed = 0  # accepted from a balancer, PROXY header not read yet
        self._spare: list[greenlet] = []
        self._stopped = Event()
        self._warned_at = 0.0
        self._end = cautions.CertificateEnd()
        self._lookout = Lookout(settings.admin.run_dir, number, self.sightings, self.suspect)
        self._admin = Admin(self)
        self._handover = Handover(
            settings.admin.run_dir,
            number,
            self.entrances.adopt,
            self.entrances.give_back,
            self._listening,
        )

    def open(self) -> None:
        """Open all listeners. Raises: OSError."""
        self.entrances.open(self.node.settings, self._handover.take_back())
        self._admin.open()
        self._handover.open()
        self._hub.print_exception = self._uncaught
        gevent.signal_handler(signal.SIGTERM, self._on_term)
        gevent.signal_handler(signal.SIGHUP, self._on_hup)

    def serve(self) -> None:
        """Serve until drained."""
        settings = self.node.settings
        helpers = [
            gevent.spawn(self.deadlines.sweep_forever),
            gevent.spawn(self.telemetry.flush_forever),
            gevent.spawn(self._probe_forever),
            gevent.spawn(self.entrances.watch_forever),
            gevent.spawn(self._tidy_forever),
            gevent.spawn(self._lookout.look_forever),
            gevent.spawn(memory.give_back_forever),
        ]
        _log.info("worker %d of %s is up", self.number, __version__)
        cautions.log(settings)
        # What is alive now stays: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        self._stopped.wait()
        gevent.killall(helpers)
        self._admin.close()
        self._handover.close()
        self.telemetry.last_lines()
        _log.info("worker %d is drained", self.number)

    def out_of_memory(self) -> None:
        """Note that something was refused for want of memory; the watchdog drains us for it."""
        self.telemetry.events["out_of_memory"] += 1
        if not self.starved:  # once: a worker that starves is replaced
            self.starved = True
            _log.error("no memory is left: exchanges are refused until this worker is replaced")

    def _uncaught(self, context: object, kind: Any, error: Any, where: Any) -> None:
        """Note what ended a greenlet. Any: they are what gevent's hub passes."""
        if issubclass(kind, MemoryError):
            self.out_of_memory()
        else:
            logs.uncaught_in_greenlet(context, kind, error, where)

    def suspect(self, zone: str, source: str, why: str) -> None:
        """Warn that one identity seems to be used by two agents."""
        self.telemetry.events["duplicate_identity"] += 1
        text = f"two agents seem to call as {source} in zone {zone}: {why}"
        self.telemetry.trouble("agent", source, zone, "duplicate_identity", text)
        _log.warning("%s; give one of them another address, or a zone of its own", text)

    def warnings(self) -> list[str]:
        """What an operator should know although it stops nothing."""
        warnings = cautions.of(self.node.settings)
        wanted, most = self.node.settings.limits.connections, self.places.most
        if most < wanted:
            text = f"only {most} of [limits] connections = {wanted} fit into the descriptors"
            warnings.append(f"{text}; raise LimitNOFILE of the service and restart it")
        if said := cautions.certificate(self.node.tls.expires_at, time.time()):
            warnings.append(said)
        warnings += [f"reload changed nothing: {problem}" for problem in self.reload_problems]
        for zone in self.entrances.report():
            warnings += [f"zone {zone['name']}: {problem}" for problem in zone["problems"]]
        return warnings

    @property
    def ready_problems(self) -> list[str]:
        """Why this worker should get no traffic; empty: it should."""
        problems = ["draining"] if self.draining else []
        problems += self.node.problems(time.time())
        if len(self.connections) >= self.places.agents_most:
            problems.append("the connection limit is reached")
        return problems

    # Accepting: runs in the hub, must not block.

    def _accept(self, zones: tuple[Zone, ...], sock: socket.socket, address: Any) -> None:
        source = address[0]
        if self.node.is_balancer(source):
            if len(self.connections) + self._unnamed >= self.places.most:
                self._turn_away(sock, "over_connection_limit", source, "-")
            else:
                gevent.spawn_raw(self._run_behind_balancer, zones, sock, source)
            return
        accepted = self.node.accept(source, zones)
        refusal = self._refusal(accepted.caller)
        if refusal:
            self._turn_away(sock, refusal, source, accepted.caller.zone)
            return
        self._admit(Connection(sock, accepted, self.node, self), accepted.caller)

    def _refusal(self, caller: Caller) -> str:
        """Return why this caller gets no connection; "" for no reason."""
        if caller.kind == "stranger":
            return "stranger"
        return self.places.refusal(caller, len(self.connections))

    def _admit(self, connection: Connection, caller: Caller) -> None:
        self.places.take(caller)
        self.telemetry.events["accepted_" + caller.kind] += 1
        self.telemetry.zones[caller.zone, "accepted_" + caller.kind] += 1
        self.connections.add(connection)
        if self._spare and getcurrent() is gevent.get_hub():
            self._spare.pop().switch((connection, caller))  # it comes back when it waits
        else:
            gevent.spawn_raw(self._run, connection, caller)

    def _run(self, connection: Connection, caller: Caller) -> None:
        """Serve one connection after the other: a new stack costs a mapping and two page faults."""
        while True:
            try:
                connection.run()
            finally:
                self.connections.discard(connection)
                self.places.give_back(caller)
            if self.draining or len(self._spare) >= _SPARE_GREENLETS:
                return
            del connection  # or what it held stays until the next one comes
            self._spare.append(getcurrent())
            connection, caller = gevent.get_hub().switch()

    def _run_behind_balancer(
        self, zones: tuple[Zone, ...], sock: socket.socket, balancer: str
    ) -> None:
        """Learn who is behind the balancer, then go on as if they had called themselves."""
        node = self.node
        self._unnamed += 1
        try:
            said = introduction.read(sock, node, zones, balancer, self.deadlines)
        except BadProxyHeader as error:
            _log.debug("from balancer %s: %s", balancer, error.detail)
            self._turn_away(sock, "bad_proxy_header", balancer, "-")
            return
        finally:
            self._unnamed -= 1
        caller = said.accepted.caller
        refusal = self._refusal(caller)
        if refusal:
            self._turn_away(sock, refusal, caller.source, caller.zone)
            return
        connection = Connection(
            sock, said.accepted, node, self, early=said.early, spent_s=said.took_s
        )
        self._admit(connection, caller)

    def _turn_away(self, sock: socket.socket, refusal: str, source: str, zone: str) -> None:
        sock.close()
        self._note_refusal(refusal, source, zone)

    def _note_refusal(self, refusal: str, source: str, zone: str) -> None:
        self.telemetry.events["refused_" + refusal] += 1
        self.telemetry.zones[zone, "refused"] += 1
        now = time.monotonic()
        if now - self._warned_at > _WARN_EVERY_S:  # a flood must not flood the log
            self._warned_at = now
            why = refusal.replace("_", " ")
            _log.warning("closed a connection from %s in zone %s: %s", source, zone, why)

    # Reload and drain.

    def _on_hup(self) -> None:
        gevent.spawn(self.reload)

    def reload(self) -> None:
        """Read the configuration again; a bad one changes nothing."""
        try:
            settings = configuration.load(self._conf_path)
            node = Node(settings)
            prepared = self.entrances.prepare(settings)
        except (ConfigurationProblems, OSError) as error:
            problems = error.problems if isinstance(error, ConfigurationProblems) else [error]
            self.reload_problems = [str(problem) for problem in problems]
            for text in self.reload_problems:
                _log.error("reload changed nothing: %s", text)
            return
        self.reload_problems = []
        self._hub.resolver.limit_s = settings.timeouts.resolve
        self._former.append((self.node, set(self.connections)))
        self.node = node
        self.places.set_limits(settings, fitting(settings))
        self.telemetry.set_log(settings.log.format, access=settings.log.access)
        logs.start(settings.log.level, settings.log.format, self.number)
        self.entrances.change(settings, prepared)
        self.telemetry.events["reloaded"] += 1
        _log.info("worker %d has read its configuration again", self.number)
        cautions.log(settings)
        node.upstream.probe()

    def _listening(self) -> Set:
        """Return copies of the listeners for the watchdog; none of a worker that will close."""
        return {} if self.draining else self.entrances.copies()

    def _on_term(self) -> None:
        if not self.draining:
            self.draining = True
            gevent.spawn(self._drain)

    def _drain(self) -> None:
        drain = self.node.settings.drain
        _log.info("worker %d drains: %d connections", self.number, len(self.connections))
        gevent.sleep(drain.delay)
        self._handover.stop_adopting()
        # A sibling accepts on for us; the last worker empties the queues and closes.
        self.entrances.hand_over(self._handover.give)
        for connection in tuple(self.connections):
            cap_s: float = drain.timeout
            if connection.tunnelling:
                cap_s *= random.random()  # spread, so that agents do not come back as one
            connection.drain(_DRAINED_IDLE_S, cap_s)
        deadline = time.monotonic() + drain.timeout + 1.0
        while (self.connections or self._unnamed) and time.monotonic() < deadline:
            gevent.sleep(0.05)
        if self.connections:
            _log.warning("worker %d gives up %d connections", self.number, len(self.connections))
        self._stopped.set()

    def _tidy_forever(self) -> None:
        """Close idle connections to the platform in time, and nodes that nobody uses any more."""
        while True:
            gevent.sleep(_TIDY_EVERY_S)
            logs.flush()
            self._end.look(self.node.tls.expires_at, time.time())
            self.node.upstream.close_useless()
            for former in tuple(self._former):
                node, connections = former
                if connections.isdisjoint(self.connections):
                    self._former.remove(former)
                    node.close()
                else:
                    node.upstream.close_useless()

    def _probe_forever(self) -> None:
        """Know whether the upstream is there, also when no agent has asked lately."""
        while True:
            # In a greenlet of its own: a defect ends that one, logged, and the next probe comes.
            gevent.spawn(self.node.upstream.probe).join()
            gevent.sleep(_PROBE_EVERY_S)
