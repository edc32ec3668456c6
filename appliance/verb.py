"""What a verb is: the one description from which both the command line and the menu are made.

Pure types. Neighbours: the `*_verbs` modules declare verbs, `verbs` lists them; `cli` makes
arguments of them, `menu` makes menu items.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from appliance.system import System

__all__ = ["CONF", "Argument", "Context", "Kind", "Result", "Values", "Verb"]

CONF: Final = "/opt/agent-proxy/conf/proxy.ini"

Kind: TypeAlias = Literal["text", "number", "flag", "choice", "list", "file", "secret", "lines"]
"""text, number, flag (yes or no), choice (of `choices`), list (of texts), file (the path of a file
that is read or written), secret (typed unseen, or read from a file; never on the command line),
lines (a text of several lines, such as a certificate: pasted, or read from a file)."""

# Any: what an argument's kind says: str, int, bool, tuple of str; None where it was left out.
Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Argument:
    """One value a verb takes. `range` says what is allowed, for people; validate() decides.

    `positional` ones are given without a name on the command line. A value that is left out is
    None: `default` says what that means, for help and forms. `check` judges one text alone, while
    it is typed: it raises ValueError with what is wrong; of a list it is asked for each.
    """

    name: str
    kind: Kind
    sense: str
    range: str = ""
    default: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False
    positional: bool = False
    low: int = 0
    high: int = 0
    check: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a verb has to say: `lines` for people, `data` for programs. `code` 0 is well."""

    lines: tuple[str, ...] = ()
    data: Any = None  # whatever JSON can hold
    code: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What a verb works on. `progress` shows a line while it works.

    `stop` is true once whoever waits wants no more: the verb ends as soon as that leaves nothing
    half done. `endures` tells them that from here on it cannot, and why.
    """

    system: System
    conf: str = CONF
    now: Callable[[], float] = time.time
    progress: Callable[[str], None] = lambda line: None
    stop: Callable[[], bool] = lambda: False
    endures: Callable[[str], None] = lambda why: None


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done, "network set". `run` raises Problems and Refusal, nothing else.

    `changes`: it needs root and has a dry run. `confirm`: it is taken back after 120 s unless
    confirmed. `dangerous`: it asks first (--yes on the command line). `endures` says why it cannot
    be stopped once it has begun; every other verb that changes something heeds Context.stop.
    """

    name: str
    sense: str
    run: Callable[[Context, Values], Result]
    arguments: tuple[Argument, ...] = ()
    examples: tuple[str, ...] = ()
    more: str = ""
    changes: bool = False
    confirm: bool = False
    dangerous: bool = False
    endures: str = ""
    topic: str = field(default="")

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.name.split())
