"""One line of `check`. Layer 0 (pure). Neighbours: `check` and `check_upstream` make them."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Outcome", "failed", "passed", "printable", "skipped"]


class Outcome(NamedTuple):
    """What one check found; `remedy` is what to do, empty if nothing."""

    verdict: Literal["PASS", "FAIL", "SKIP"]
    name: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        return printable(
            f"{self.verdict}  {self.name:<22}  {self.detail}"
            + (f". {self.remedy}" if self.remedy else "")
        )


def printable(text: str) -> str:
    """Return `text` with control characters escaped: a forward proxy's word can be in it.

    Terminals obey them, by changing what stands above for example.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def passed(name: str, detail: str) -> Outcome:
    return Outcome("PASS", name, detail)


def failed(name: str, detail: str, remedy: str) -> Outcome:
    return Outcome("FAIL", name, detail, remedy)


def skipped(name: str, detail: str, remedy: str = "") -> Outcome:
    return Outcome("SKIP", name, detail, remedy)
