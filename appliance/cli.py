"""`agent-proxy-appliance`: every verb as a command, with --help, --json and --dry-run.

Shell; the only file that prints. Neighbours: `loading` has the verbs of one word, `verbs` all,
`cli_values` reads what was typed, `interruption` is what Ctrl-C comes to. Exit codes as those of
agent-proxy: 0 well, 1 failed or refused, 2 wrong values; and 130, stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from appliance import audit, cli_values, loading, work
from appliance.dry_run import DryRun
from appliance.errors import Problem, Problems, Refusal, cause
from appliance.interruption import Interruption, to_nowhere
from appliance.system import System
from appliance.verb import CONF, Context, Result, Verb
from proxy import __version__

__all__ = ["main", "parser"]

_STOPPED: Final = 130
_WIDTH: Final = 79  # of the smallest terminal there is
_EPILOG: Final = """\
exit codes:
  0  well    1  something failed, or was refused    2  a value or the command is wrong
  130  stopped by Ctrl-C: nothing was changed, or what was begun was taken back

Passwords and keys are typed unseen or come from a file, never from the command line.
`agent-proxy-appliance VERB --help` has examples of each verb."""


def parser(words: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser; `verb` of what it parses is the Verb.

    It has all verbs, or those alone that `words`, a command line, can mean.
    """
    verbs = _meant(words)
    top = argparse.ArgumentParser(
        prog="agent-proxy-appliance",
        description="Set up, look after and diagnose an agent proxy appliance.",
        epilog=_EPILOG,
        formatter_class=_formatter,
    )
    top.add_argument("--version", action="version", version=f"agent-proxy {__version__}")
    levels: dict[tuple[str, ...], Any] = {(): _level(top)}  # Any: argparse does not name it
    for verb in verbs:
        *above, last = verb.words
        for depth in range(len(above)):
            path = tuple(above[: depth + 1])
            if path not in levels:
                inner = levels[path[:-1]].add_parser(
                    path[-1],
                    help=f"{', '.join(_below(verbs, path))}",
                    formatter_class=_formatter,
                )
                levels[path] = _level(inner)
        _add(levels[tuple(above)], last, verb)
    return top


def _level(parent: argparse.ArgumentParser) -> Any:
    return parent.add_subparsers(metavar="VERB", required=True)


def _meant(words: Sequence[str]) -> tuple[Verb, ...]:
    """Return as few verbs as will do: loading all of them takes longer than most need to act."""
    word = words[0] if words else ""
    found = loading.beginning_with(word)
    if found or word == "--version":
        return found
    from appliance import console

    if word == "console":
        return (console.VERB,)
    from appliance.verbs import VERBS

    return (*VERBS, console.VERB)


def _below(verbs: Iterable[Verb], path: tuple[str, ...]) -> list[str]:
    length = len(path)
    names = (verb.words[length] for verb in verbs if verb.words[:length] == path)
    return list(dict.fromkeys(names))


def _sentence(sense: str) -> str:
    return f"{sense[0].upper()}{sense[1:]}."


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH)


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26)


def _add(level: Any, word: str, verb: Verb) -> None:
    examples = "".join(f"\n  {line}" for line in verb.examples)
    made = level.add_parser(
        word,
        help=verb.sense,
        description=f"{_filled(_sentence(verb.sense))}\n{_filled(verb.more)}".rstrip(),
        epilog=f"examples:{examples}",
        formatter_class=_formatter,
    )
    for argument in verb.arguments:
        cli_values.declare(made, argument)
    made.add_argument("--json", action="store_true", help="print JSON, for programs")
    made.add_argument("--conf", metavar="FILE", default=CONF, help=f"default: {CONF}")
    if verb.changes:
        made.add_argument("--dry-run", action="store_true", help="show what would be changed")
    if verb.dangerous:
        made.add_argument("--yes", action="store_true", help="do it without asking")
    made.set_defaults(verb=verb)


def main(argv: list[str] | None = None, system: System | None = None) -> int:
    """Run one verb and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    parsed = parser(words).parse_args(words)
    verb: Verb = parsed.verb
    interruption = Interruption(verb.endures)
    try:
        code = _run(verb, parsed, system, interruption)
        return _STOPPED if code and interruption.asked else code
    except Problems as problems:
        _complain(parsed.json, problems.problems)
        return 2
    except Refusal as refusal:
        code = _refused(parsed.json, str(refusal))
        return _STOPPED if interruption.asked else code
    except BrokenPipeError:
        to_nowhere()
        return 1
    except OSError as error:
        return _refused(parsed.json, cause(error))
    except KeyboardInterrupt:
        return _STOPPED


def _run(
    verb: Verb, parsed: argparse.Namespace, system: System | None, interruption: Interruption
) -> int:
    dry = verb.changes and parsed.dry_run
    if verb.changes and not dry and system is None and os.geteuid() != 0:
        raise Refusal(f"`{verb.name}` changes this machine: run it as root (sudo)")
    values = cli_values.gather(verb, parsed)
    if verb.dangerous and not dry and not parsed.yes:
        _ask(verb)
    base = system or System()
    acting = DryRun(base) if dry else base
    progress = _steady_progress if verb.changes else _progress
    show: Callable[[str], None] = progress if not parsed.json else lambda line: None
    stop, endures = interruption.stop, interruption.begin_to_endure
    context = Context(acting, parsed.conf, acting.now, show, stop, endures)
    try:
        with interruption.heeded() if verb.changes and not dry else contextlib.nullcontext():
            result = verb.run(context, values)
    except (Problems, Refusal, OSError):
        # Without its values: one that was refused may be a secret in the wrong place.
        _audit(base, verb, {}, "stopped" if interruption.asked else "refused", dry=dry)
        raise
    _audit(base, verb, values, "failed" if result.code else "done", dry=dry, result=result)
    would = work.would(acting) if isinstance(acting, DryRun) else []
    _report(result, parsed.json, would)
    return result.code


def _audit(
    system: System,
    verb: Verb,
    values: dict[str, Any],
    end: str,
    *,
    dry: bool,
    result: Result | None = None,
) -> None:
    """Write who did what; not of what only looks, nor of a timer that found nothing to do."""
    idle = verb.name == "recover" and result is not None and result.data["title"] is None
    if verb.changes and not dry and not idle:
        audit.record(system, verb, audit.who(), values, end)


def _report(result: Result, as_json: bool, would: list[str]) -> None:
    if as_json:
        _document({"result": result.data, "would": would} if would else result.data)
        return
    for line in (*result.lines, *would):
        print(_visible(line))
    sys.stdout.flush()


def _ask(verb: Verb) -> None:
    if not sys.stdin.isatty():
        raise Refusal(f"`{verb.name}` asks before it acts. Give --yes where nobody can answer")
    print(f"{_sentence(verb.sense)} Type yes to do it: ", end="", flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise Refusal("nothing was done")


def _refused(as_json: bool, why: str) -> int:
    if as_json:
        _document({"error": why})
    else:
        _error(why)
    return 1


def _complain(as_json: bool, problems: Iterable[Problem]) -> None:
    if as_json:
        _document({"problems": [one._asdict() for one in problems]})
        return
    for problem in problems:
        _error(str(problem))


def _error(line: str) -> None:
    print(f"agent-proxy-appliance: {_visible(line)}", file=sys.stderr)


def _progress(line: str) -> None:
    print(_visible(line), flush=True)


def _steady_progress(line: str) -> None:
    try:
        _progress(line)
    except OSError:  # `| head`, or a terminal that is gone: no reason to leave a change half done
        to_nowhere()


def _document(content: Any) -> None:
    # Any: whatever JSON can hold.
    print(json.dumps(content, indent=2))


def _visible(text: str) -> str:
    """Escape what would steer a terminal: some of it came over the network."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


if __name__ == "__main__":
    sys.exit(main())
