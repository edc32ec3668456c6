"""Who "agent-proxy:agent-proxy" is, on this machine or in another tree.

Shell (it asks the C library). Neighbour: `system`. In another tree it is that tree's own
/etc/passwd and /etc/group that count; one without any has no owners, and files keep whoever
writes them.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable

__all__ = ["name", "numbers"]

_Read = Callable[[str], str]


def numbers(root: str, read: _Read, owner: str) -> tuple[int, int] | None:
    """Return the ids of "user:group"; None in a tree without users of its own.

    Raises: LookupError when there is no such user or group.
    """
    user, _, group = owner.partition(":")
    if root == "/":
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        return uid, gid
    users, groups = _ids(read("/etc/passwd")), _ids(read("/etc/group"))
    if not users and not groups:
        return None
    return (
        int(user) if user.isdigit() else users[user],
        int(group) if group.isdigit() else groups[group],
    )


def name(root: str, read: _Read, uid: int, gid: int) -> str:
    """Return "user:group", numbers where they have no name."""
    if root == "/":
        return f"{_user(uid)}:{_group(gid)}"
    users = {number: known for known, number in _ids(read("/etc/passwd")).items()}
    groups = {number: known for known, number in _ids(read("/etc/group")).items()}
    return f"{users.get(uid, uid)}:{groups.get(gid, gid)}"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _ids(text: str) -> dict[str, int]:
    fields = (line.split(":") for line in text.splitlines())
    return {one[0]: int(one[2]) for one in fields if len(one) > 3}
