"""Reads proxy.ini and what belongs to it: files of secrets, the environment, the node's name.

Shell. Neighbours: `settings` below gives it a meaning; `worker`, `cli` and `check` above. All that
settings cannot know by itself is fetched here, and nothing is decided.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from typing import Final

from proxy import settings
from proxy.errors import ConfigurationProblems, Problem
from proxy.settings import Settings

__all__ = ["DEFAULT_PATH", "base", "load", "readable_by_others"]

DEFAULT_PATH: Final = "conf/proxy.ini"
_FILE_LIMIT_BYTES: Final = 1 << 20
_SECRET_FILE_LIMIT_BYTES: Final = 4096
_SECRET_LINE: Final = re.compile(r"\s*(previous_secret|secret|http_proxy_password)\s*=\s*[^\s#]")

_log = logging.getLogger("proxy.configuration")


def load(path: str) -> Settings:
    """Return the settings of the file at `path`, with secrets from files and the environment.

    Raises: ConfigurationProblems with everything that is wrong, a missing file included.
    """
    text = _content(path)
    lines = text.splitlines()
    if any(_SECRET_LINE.match(line) for line in lines):
        _warn_if_open(path)
    return settings.parse(
        lines,
        base=base(path),
        file=path,
        environ=os.environ,
        read=_secret,
        node=os.uname().nodename,
    )


def base(path: str) -> str:
    """Return the directory that paths in the file at `path` are relative to: the one above its own.

    So `var/tls/proxy.crt` in /srv/agent-proxy/conf/proxy.ini is /srv/agent-proxy/var/tls/proxy.crt.
    """
    return os.path.dirname(os.path.dirname(os.path.abspath(path)))


def readable_by_others(path: str) -> bool:
    """Return whether everybody on this machine may read the file."""
    return bool(os.stat(path).st_mode & stat.S_IROTH)


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_LIMIT_BYTES + 1)
    except OSError as error:
        remedy = "Name the configuration file with --conf or in AGENT_PROXY_CONF."
        raise _unreadable(path, f"cannot be read: {error.strerror}", remedy) from error
    if len(content) > _FILE_LIMIT_BYTES:
        message = f"is larger than {_FILE_LIMIT_BYTES} bytes"
        raise _unreadable(path, message, "Check that this is the configuration file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = "this line is not UTF-8"
        raise _unreadable(path, message, "Save the file as UTF-8.", line) from error


def _unreadable(path: str, message: str, remedy: str, line: int = 0) -> ConfigurationProblems:
    return ConfigurationProblems([Problem(path, line, "(file)", "", message, remedy)])


def _secret(path: str) -> str:
    """Return the text of a `*_file` without the line end. Raises: OSError, ValueError."""
    with open(path, "rb") as file:
        content = file.read(_SECRET_FILE_LIMIT_BYTES + 1)
    if len(content) > _SECRET_FILE_LIMIT_BYTES:
        raise ValueError(f"the file is larger than {_SECRET_FILE_LIMIT_BYTES} bytes")
    _warn_if_open(path)
    try:
        return content.decode().strip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None


def _warn_if_open(path: str) -> None:
    if readable_by_others(path):
        _log.warning("%s holds a secret and everybody may read it: chmod o-rwx %s", path, path)
