"""What an AppArmor profile allows, and what a trace of strace shows was done.

The kernel here has no AppArmor, so that a profile cannot be enforced; what was really done can be
compared with it all the same. Only what matters for that is understood: rules of files, networks
and capabilities. `owner` is taken as given, deny goes before allow, ix and the like are x.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_FILE = re.compile(
    r'^(?P<words>(?:(?:audit|deny|allow|owner|quiet)\s+)*)(?P<path>"[^"]+"|[/@]\S*)\s+'
    r"(?P<perms>[rwaxmklipPcCuU]+)$"
)
_VARIABLE = re.compile(r"^(@\{\w+\})\s*(\+?=)\s*(.*)$")


class Deed(NamedTuple):
    """A permission that was needed: of a path, or of a network as "network inet stream"."""

    perms: str
    what: str


@dataclass
class Profile:
    """The rules of one profile, all includes read."""

    allowed: list[tuple[re.Pattern[str], str]] = field(default_factory=list)
    denied: list[tuple[re.Pattern[str], str]] = field(default_factory=list)
    networks: list[tuple[str, ...]] = field(default_factory=list)
    capabilities: set[str] = field(default_factory=set)

    def lacks(self, deed: Deed) -> str:
        """Return the permissions that are not given, "" if all are."""
        if deed.what.startswith("network "):
            words = deed.what.split()[1:]
            given = any(list(one) == words[: len(one)] for one in self.networks)
            return "" if given else deed.perms
        given = "".join(perms for rule, perms in self.allowed if rule.fullmatch(deed.what))
        taken = "".join(perms for rule, perms in self.denied if rule.fullmatch(deed.what))
        return "".join(one for one in deed.perms if one not in given or one in taken)


def profile(parser: str, path: Path) -> Profile:
    """Read a profile as `apparmor_parser` understands its includes."""
    command = [parser, "--preprocess", "--skip-kernel-load", "--skip-cache", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found, variables, depth = Profile(), dict[str, list[str]](), 0
    for line in _statements(text):
        match = _VARIABLE.match(line)
        if match is not None and not depth:
            kept = variables.setdefault(match[1], [])
            if match[2] == "=":
                kept.clear()
            kept += match[3].rstrip(",").split()
        depth += line.endswith("{") - (line == "}")
        if depth:
            _take(found, line.rstrip(","), variables)
    return found


def _statements(text: str) -> Iterator[str]:
    for line in text.splitlines():
        bare = re.sub(r"(?:^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


def _take(found: Profile, line: str, variables: dict[str, list[str]]) -> None:
    words = line.split()
    if words[0] == "network":
        found.networks.append(tuple(words[1:]))
    elif words[0] == "capability":
        found.capabilities.update(words[1:])
    elif (match := _FILE.match(line)) is not None:
        rule = re.compile(_pattern(match["path"].strip('"'), variables))
        perms = re.sub(r"[ipPcCuU]+x", "x", match["perms"])
        perms = perms + "a" if "w" in perms else perms
        (found.denied if "deny" in match["words"].split() else found.allowed).append((rule, perms))


def _pattern(glob: str, variables: dict[str, list[str]]) -> str:
    while (name := re.search(r"@\{\w+\}", glob)) is not None:
        values = variables[name[0]]
        if glob[name.end() : name.end() + 1] == "/":
            values = [one.rstrip("/") for one in values]
        glob = glob[: name.start()] + "{" + ",".join(values) + "}" + glob[name.end() :]
    out, depth, at = "", 0, 0
    while at < len(glob):
        one = glob[at]
        if glob.startswith("**", at):
            out += ".+" if out.endswith("/") else ".*"
            at += 1
        elif one == "*":
            out += "[^/]+" if out.endswith("/") else "[^/]*"
        elif one == "?":
            out += "[^/]"
        elif one == "[":
            end = glob.index("]", at)
            out += glob[at : end + 1]
            at = end
        elif one in "{}":
            depth += 1 if one == "{" else -1
            out += "(?:" if one == "{" else ")"
        elif one == "," and depth:
            out += "|"
        elif one == "\\":
            at += 1
            out += re.escape(glob[at])
        else:
            out += re.escape(one)
        at += 1
    return out.replace("//", "/")


# -- the trace

CALLS = (
    "execve,open,openat,mmap,mprotect,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,"
    "link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,chown,lchown,fchown,fchownat,truncate,"
    "ftruncate,utimensat,mknod,mknodat,bind,connect,socket,flock,fcntl,clone,clone3,fork,vfork"
)
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<call>\w+)\((?P<rest>.*)$")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_FD = re.compile(r"\d+<(/[^>]*)>")
_CHILD = re.compile(r"= (\d+)(?: /\* (\d+) in strace's PID NS \*/)?$")


def deeds(lines: Iterable[str], is_ours: Callable[[str], bool]) -> set[Deed]:
    """Return what the programs did whose path `is_ours` says so, and what these started."""
    ours: set[str] = set()
    found: set[Deed] = set()
    for line in _whole(lines):
        match = _LINE.match(line)
        if match is None or not re.search(r"\) += \d", line):
            continue  # refused, or not ended: nothing was done
        pid, call, rest = match["pid"], match["call"], match["rest"]
        if call in ("clone", "clone3", "fork", "vfork"):
            child = _CHILD.search(line)
            if pid in ours and child is not None:
                ours.add(child[2] or child[1])
            continue
        if call == "execve" and pid not in ours:
            path = _PATH.search(rest)
            if path is not None and is_ours(path[1]):
                ours.add(pid)
            continue  # systemd started it: the profile begins with the next call
        if pid in ours:
            found |= set(_of_call(call, rest, line))
    return found


def _whole(lines: Iterable[str]) -> Iterator[str]:
    """Join what strace wrote in two parts because another process came between."""
    begun: dict[str, str] = {}
    for raw in lines:
        line = raw.rstrip("\n")
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[pid] = line.removesuffix("<unfinished ...>").rstrip()
        elif (resumed := re.match(r"^\d+ +<\.\.\. \w+ resumed>(.*)$", line)) is not None:
            yield begun.pop(pid, f"{pid} ") + resumed[1]
        else:
            yield line


def _of_call(call: str, rest: str, line: str) -> Iterator[Deed]:
    given = _PATH.findall(rest)
    opened = re.search(r"= \d+<(/[^>]*)>", line)
    descriptor = _FD.search(rest)
    if call in ("open", "openat") and opened is not None:
        yield from _of_open(opened[1], rest)
    elif call == "execve":
        yield Deed("x", given[0])
    elif call in ("mmap", "mprotect"):
        if "PROT_EXEC" in rest and descriptor is not None and call == "mmap":
            yield Deed("m", descriptor[1])
    elif call == "socket":
        words = re.match(r"AF_(\w+), SOCK_(\w+)", rest)
        if words is not None:
            yield Deed("c", f"network {words[1].lower()} {words[2].lower()}")
    elif call in ("bind", "connect"):
        path = re.search(r'sun_path="(/[^"]*)"', rest)
        if path is not None:
            yield Deed("w" if call == "bind" else "rw", path[1])
    elif call in ("flock", "fcntl"):
        if descriptor is not None and (call == "flock" or "F_SETLK" in rest):
            yield Deed("k", descriptor[1])
    elif call in ("fchmod", "fchown", "ftruncate"):
        if descriptor is not None:
            yield Deed("w", descriptor[1])
    else:
        slash = "/" if call in ("mkdir", "mkdirat", "rmdir") or "AT_REMOVEDIR" in rest else ""
        for path in given:
            if path.startswith("/"):
                yield Deed("l" if call.startswith("link") else "w", path + slash)


def _of_open(path: str, rest: str) -> Iterator[Deed]:
    if "O_PATH" in rest:
        return
    perms = "rw" if "O_RDWR" in rest else "w" if "O_WRONLY" in rest or "O_CREAT" in rest else "r"
    yield Deed(perms, path + ("/" if "O_DIRECTORY" in rest else ""))
