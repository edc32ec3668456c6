"""The only door to programs and to the disk. Everything that changes a machine goes through here.

It also asks the proxy and supervisord, so that a recorded machine in a test has all there is.

Shell. Neighbours: `errors` below; `facts` and `commit` above ask and act through it.

A file is replaced as a whole or not at all: a temporary file in the same folder, fsync, rename,
fsync of the folder. After the function returns the content survives a power cut; before that the
old content does. `_step` is called before each of these steps, so that tests can pull the plug.

`System(root=...)` works on another tree (an image being built, a test's folder): paths are joined
to it, programs still run on this machine.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from appliance import owners, pages
from appliance.pages import Fetched
from appliance.readings import Worker

__all__ = ["NOT_FOUND", "TIMED_OUT", "Busy", "Completed", "Entry", "Fetched", "Space", "System"]

_READ_LIMIT_BYTES: Final = 64 << 20
_PIECE_BYTES: Final = 64 << 10
# What is asked once time is over: some answer at once, and say more than a deadline.
_LEAST_S: Final = 0.2
NOT_FOUND: Final = 127
TIMED_OUT: Final = 124
# What a program finds: no language, no PATH of whoever called, no secrets of the environment.
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
    # Links of units are systemd's own to make; those of SysV scripts nobody needs, and a sandbox
    # does not let systemctl make them: `systemctl enable ssh` failed for that.
    "SYSTEMCTL_SKIP_SYSV": "1",
}


class Busy(Exception):
    """Somebody else holds the lock."""


class Completed(NamedTuple):
    """How a program ended: 124 if it took too long, 127 if there is none of that name."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What it complained of, on one line: for messages."""
        return " ".join((self.err.strip() or self.out.strip()).split())[:300]


class Entry(NamedTuple):
    """What is known of one name in a folder. `target` is where a link points to."""

    kind: Literal["file", "folder", "link", "other"]
    mode: int
    owner: str
    size: int
    target: str = ""


class Space(NamedTuple):
    """Of the file system a path is on."""

    total_bytes: int
    free_bytes: int
    free_inodes: int


class System:
    """This machine, or the tree below `root`."""

    dry = False

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self._end: float | None = None

    def hurried(self, seconds: float) -> Self:
        """Return the same machine, whose programs and pages may take so long altogether."""
        made = copy.copy(self)
        made._end = time.monotonic() + seconds
        return made

    def _left(self, timeout_s: float) -> float:
        if self._end is None:
            return timeout_s
        return min(timeout_s, max(_LEAST_S, self._end - time.monotonic()))

    # -- programs

    def run(
        self, argv: tuple[str, ...], *, input: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run a program that may change something; returns when it has ended or time is over."""
        return _completed(argv, input, timeout_s)

    def ask(self, argv: tuple[str, ...], *, timeout_s: float = 10.0) -> Completed:
        """Run a program that only looks: this happens in a dry run, too."""
        return _completed(argv, b"", self._left(timeout_s))

    def fetch(
        self, address: str, port: int, path: str, *, timeout_s: float = 5.0
    ) -> Fetched | None:
        """Return what a page of the proxy's [admin] listener says; None if nothing answers."""
        return pages.fetch(address, port, path, self._left(timeout_s))

    def processes(self, socket: str, *, timeout_s: float = 20.0) -> tuple[Worker, ...]:
        """Return what supervisord keeps, asked at its socket; none where it does not run."""
        return pages.processes(socket, self._left(timeout_s))

    # -- reading

    def path(self, path: str) -> Path:
        """Return where `path`, absolute, lies on this machine."""
        return Path(self.root) / path.lstrip("/")

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, None if there is none. Raises: OSError."""
        try:
            with open(self.path(path), "rb", buffering=0) as file:
                # In pieces: for /proc/sys the kernel takes as much memory as it is asked for.
                content = b""
                while len(content) < _READ_LIMIT_BYTES and (piece := file.read(_PIECE_BYTES)):
                    content += piece
                return content
        except (FileNotFoundError, NotADirectoryError):
            return None

    def tail(self, path: str, limit_bytes: int, *, since: int = -1) -> tuple[bytes, int]:
        """Return the last bytes of a file, or those from `since` on, and where the file ends."""
        try:
            with open(self.path(path), "rb") as file:
                end = file.seek(0, os.SEEK_END)
                start = max(0, end - limit_bytes) if since < 0 or since > end else since
                file.seek(start)
                return file.read(limit_bytes), min(end, start + limit_bytes)
        except FileNotFoundError:
            return b"", 0

    def entry(self, path: str) -> Entry | None:
        """Return what is known of a file, folder or link (not followed), None if there is none."""
        place = self.path(path)
        try:
            found = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        owner = owners.name(self.root, self._text, found.st_uid, found.st_gid)
        mode, size = stat.S_IMODE(found.st_mode), found.st_size
        if stat.S_ISLNK(found.st_mode):
            return Entry("link", mode, owner, size, os.readlink(place))
        if stat.S_ISDIR(found.st_mode):
            return Entry("folder", mode, owner, size)
        return Entry("file" if stat.S_ISREG(found.st_mode) else "other", mode, owner, size)

    def list(self, path: str) -> list[str]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def space(self, path: str) -> Space:
        """Return how full the file system is that `path` is on. Raises: OSError."""
        found = os.statvfs(self.path(path))
        unit = found.f_frsize
        return Space(found.f_blocks * unit, found.f_bavail * unit, found.f_favail)

    # -- clocks

    def now(self) -> float:
        """Return the seconds since 1970, which may jump."""
        return time.time()

    def uptime(self) -> float:
        """Return the seconds since this machine was started: never jumps, starts at 0 again."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def pause(self, seconds: float) -> None:
        """Wait before asking again for something that is to come; whoever asks has a deadline."""
        threading.Event().wait(seconds)

    def boot_id(self) -> str:
        """Return what is different after each start of the machine."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    # -- changing

    def write(
        self, path: str, content: bytes, *, mode: int = 0o644, owner: str = "root:root"
    ) -> None:
        """Replace a file as a whole. Folders above it are made. Raises: OSError, LookupError."""
        place = self.path(path)
        self._make_folder(place.parent)
        temporary = place.with_name(f".{place.name}.new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()  # of an attempt that a power cut ended
        self._step("create", temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                self._give(file.fileno(), mode, owner)
                self._step("fsync", temporary)
                os.fsync(file.fileno())
            self._step("rename", place)
            os.rename(temporary, place)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        self._sync_folder(place.parent)

    def link(self, path: str, target: str) -> None:
        """Let `path` be a link to `target`, whatever it linked to before. Raises: OSError."""
        place = self.path(path)
        self._make_folder(place.parent)
        temporary = place.with_name(f".{place.name}.new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        self._step("create", temporary)
        os.symlink(target, temporary)
        self._step("rename", place)
        os.rename(temporary, place)
        self._sync_folder(place.parent)

    def remove(self, path: str) -> None:
        """Remove a file or link; well if there is none. Raises: OSError."""
        place = self.path(path)
        self._step("unlink", place)
        try:
            place.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        self._sync_folder(place.parent)

    def folder(self, path: str, *, mode: int = 0o755, owner: str = "root:root") -> None:
        """Let there be a folder with this mode and owner. Raises: OSError, LookupError."""
        place = self.path(path)
        self._make_folder(place)
        # Not through a link: whoever may write beside it would get what it points to.
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            self._give(descriptor, mode, owner)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[None]:
        """Hold a lock until the block, or the process, ends. Raises: Busy, OSError."""
        place = self.path(path)
        self._make_folder(place.parent)
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Busy(path) from None
        finally:
            os.close(descriptor)

    # -- inside

    def _step(self, what: str, place: Path) -> None:
        """Called before each step that changes the disk: a test may end the world here."""

    def _make_folder(self, place: Path) -> None:
        missing = [one for one in (place, *place.parents) if not one.exists()]
        for one in reversed(missing):
            self._step("mkdir", one)
            one.mkdir(mode=0o755, exist_ok=True)
            self._sync_folder(one.parent)

    def _sync_folder(self, place: Path) -> None:
        self._step("fsync", place)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _give(self, descriptor: int, mode: int, owner: str) -> None:
        """Set owner and mode: the owner first, since changing it may take bits off the mode."""
        numbers = owners.numbers(self.root, self._text, owner) if os.geteuid() == 0 else None
        if numbers is not None:
            os.fchown(descriptor, *numbers)
        os.fchmod(descriptor, mode)

    def _text(self, path: str) -> str:
        return (self.read(path) or b"").decode(errors="replace")


def _completed(argv: tuple[str, ...], input: bytes, timeout_s: float) -> Completed:
    """Run without a shell, in a process group of its own that ends as a whole when time is over."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        return Completed(NOT_FOUND, "", f"{argv[0]}: {error.strerror}")
    with process:
        try:
            out, err = process.communicate(input, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
            late = f"{argv[0]} did not end within {timeout_s:g} s and was stopped"
            return Completed(TIMED_OUT, out.decode(errors="replace"), late)
    return Completed(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
