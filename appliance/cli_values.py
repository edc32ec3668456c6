"""The arguments of a verb as argparse knows them, and what was typed as the verb's values.

Shell: files and passwords are read here. Neighbours: `verb` below, `cli` above.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path
from typing import Any, Final

from appliance.errors import Problem, Problems
from appliance.verb import Argument, Verb

__all__ = ["declare", "gather", "option"]

_SECRET_LIMIT: Final = 4096
_LINES_LIMIT_BYTES: Final = 1 << 20
_FROM_FILE: Final = ("secret", "lines")


def option(argument: Argument) -> str:
    """Return what an argument is called on the command line."""
    name = argument.name.replace("_", "-")
    if argument.positional:
        return argument.name.upper()
    return f"--{name}-file" if argument.kind in _FROM_FILE else f"--{name}"


def declare(made: argparse.ArgumentParser, argument: Argument) -> None:
    """Add one argument to the parser of its verb."""
    settings: dict[str, Any] = {"help": _help(argument)}  # Any: what add_argument takes
    if argument.kind == "flag":
        settings |= {"action": "store_true"}
    elif argument.kind == "list" and argument.positional:
        settings |= {"nargs": "+" if argument.required else "*"}
    elif argument.kind == "list":
        settings |= {"action": "append"}
    elif argument.positional and not argument.required:
        settings |= {"nargs": "?"}
    if argument.kind == "choice":
        settings |= {"choices": argument.choices}
    elif argument.kind != "flag":
        settings |= {"metavar": _metavar(argument)}
    if argument.positional:
        made.add_argument(argument.name, **settings)
        return
    required = argument.required and argument.kind != "secret"
    made.add_argument(option(argument), dest=argument.name, required=required, **settings)


def _metavar(argument: Argument) -> str:
    if argument.kind in (*_FROM_FILE, "file"):
        return "FILE"
    is_count = argument.kind == "number" and not argument.positional
    return "N" if is_count else argument.name.upper()


def _help(argument: Argument) -> str:
    text = argument.sense
    if argument.range:
        text += f" ({argument.range})"
    if argument.kind == "secret":
        text += "; default: typed unseen, or the next line of standard input"
    elif argument.kind == "lines":
        text += "; - is standard input"
    elif argument.default:
        text += f"; default: {argument.default}"
    return text.replace("%", "%%")


def gather(verb: Verb, parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the values of a verb; None for what was left out. Raises: Problems."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for argument in verb.arguments:
        try:
            values[argument.name] = _value(argument, getattr(parsed, argument.name))
        except ValueError as error:
            remedy = f"Give {argument.range}." if argument.range else "Give another."
            problems.append(Problem(option(argument), "", str(error), remedy))
    if problems:
        raise Problems(problems)
    return values


def _value(argument: Argument, typed: Any) -> Any:
    if argument.kind == "secret":
        return _secret(argument, typed)
    if typed is None:
        return None
    if argument.kind == "number":
        return _number(argument, typed)
    if argument.kind == "list":
        return tuple(one for one in typed if one)
    if argument.kind == "lines":
        return _content(typed, _LINES_LIMIT_BYTES)
    return typed


def _number(argument: Argument, typed: str) -> int:
    if not typed.isascii() or not typed.isdigit() or len(typed) > 9:
        raise ValueError(f"{typed!r} is not a whole number")
    if not argument.low <= int(typed) <= (argument.high or 999_999_999):
        raise ValueError(f"{typed} is outside {argument.low} to {argument.high}")
    return int(typed)


def _secret(argument: Argument, file: str | None) -> str | None:
    if file not in (None, "-"):
        return _content(str(file), _SECRET_LIMIT).strip("\r\n")
    if file is None and not argument.required:
        return None
    if sys.stdin.isatty():
        return getpass.getpass(f"{argument.sense}: ")
    line = sys.stdin.readline(_SECRET_LIMIT)
    if not line:
        raise ValueError("standard input ended before it was given")
    return line.rstrip("\r\n")


def _content(file: str, limit_bytes: int) -> str:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(limit_bytes + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(limit_bytes + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > limit_bytes:
        raise ValueError(f"{file} is larger than {limit_bytes} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not UTF-8 text") from None
