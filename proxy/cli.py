"""Runs a verb, prints what it returns, and turns what goes wrong into an exit code.

Shell. Neighbours: `arguments` parses, `verbs`, `certificate_verbs` and `check` do the work; the
only file that prints. Imports are inside the branches: each verb loads what it needs only.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from proxy.errors import ConfigurationProblems

__all__ = ["run"]


def run(parsed: Namespace) -> int:
    """Run the verb in `parsed`; return 0 well, 1 failed or refused, 2 configuration is wrong."""
    from proxy import logs

    sys.excepthook = logs.uncaught
    if parsed.verb == "worker":
        from proxy import worker

        return worker.run(parsed.conf, parsed.number)
    if parsed.verb == "watchdog":
        from proxy import watchdog

        return watchdog.run(parsed.conf)
    from proxy.verbs import Refusal

    logging.basicConfig(level=logging.WARNING, format="agent-proxy: %(message)s")
    try:
        code = _VERBS[parsed.verb](parsed)
        sys.stdout.flush()
        return code
    except ConfigurationProblems as problems:
        _complain(str(problem) for problem in problems.problems)
        return 2
    except Refusal as refusal:
        _complain([str(refusal)])
        return 1
    except BrokenPipeError:  # `agent-proxy show | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _complain(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"agent-proxy: {_visible(line)}", file=sys.stderr)


def _note(lines: Iterable[str]) -> None:
    """Say what is no part of the output, which may go into a file."""
    for line in lines:
        print(_visible(line), file=sys.stderr)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(_visible(line))


def _visible(text: str) -> str:
    """Escape what would steer a terminal: some of it came over the network."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _document(content: Any) -> None:
    # Any: whatever JSON can hold.
    print(json.dumps(content, indent=2))


def _check(parsed: Namespace) -> int:
    from proxy import check

    failed = False
    outcomes = []
    for outcome in check.run(parsed.conf, parsed.deadline):
        failed |= outcome.verdict == "FAIL"
        if parsed.json:
            outcomes.append(outcome._asdict())
        else:
            _print([str(outcome)])
            sys.stdout.flush()
    if parsed.json:
        _document({"passed": not failed, "checks": outcomes})
    return 1 if failed else 0


def _show(parsed: Namespace) -> int:
    from proxy import verbs

    _print(verbs.effective_settings(parsed.conf))
    return 0


def _explain(parsed: Namespace) -> int:
    from proxy import verbs

    result = verbs.explain(parsed.conf, parsed.route, probe=parsed.probe)
    if parsed.json:
        _document(result)
    else:
        _print(verbs.explained(result))
    reachable = result.get("probe", {}).get("reachable", True)
    return 0 if result["allowed"] and reachable else 1


def _register_info(parsed: Namespace) -> int:
    from proxy import verbs

    document = verbs.register_info(parsed.conf)
    if parsed.json:
        _document(document)
    else:
        _print(verbs.registered(document))
    return 0


def _status(parsed: Namespace) -> int:
    from proxy import status_text, verbs

    document = verbs.status(parsed.conf)
    if parsed.json:
        _document(document)
    else:
        _print(status_text.lines(document))
    return 0


def _migrate(parsed: Namespace) -> int:
    from proxy import verbs

    lines, notes = verbs.migrate(parsed.file, parsed.output)
    _print(lines)
    _note(notes)
    return 0


def _certificate(parsed: Namespace) -> int:
    from proxy import certificate_verbs

    if parsed.action == "show":
        document = certificate_verbs.show(parsed.conf, parsed.file)
        if parsed.json:
            _document(document)
        else:
            _print(f"{name:<12} {value}" for name, value in document.items())
        return 0
    if parsed.action == "self-signed":
        _print(
            certificate_verbs.self_signed(
                parsed.conf, parsed.names, parsed.days, rsa_key=parsed.rsa, force=parsed.force
            )
        )
    elif parsed.action == "install":
        _print(certificate_verbs.install(parsed.conf, parsed.chain, parsed.key))
    else:
        lines, notes = certificate_verbs.request(
            parsed.conf, parsed.names, parsed.output, force=parsed.force
        )
        _print(lines)
        _note(notes)
    return 0


_VERBS = {
    "check": _check,
    "show": _show,
    "explain": _explain,
    "register-info": _register_info,
    "status": _status,
    "migrate": _migrate,
    "certificate": _certificate,
}
