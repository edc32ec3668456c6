"""What can go wrong on an appliance, said so that an operator can mend it.

Pure. Neighbours: everything; nothing of the appliance is imported here.

    ApplianceError
    +-- Refusal     a verb that cannot be carried out; the text says why and what to do
    +-- Problems    values that were refused, every one with the way to correct it
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from proxy import errors

__all__ = ["ApplianceError", "Problem", "Problems", "Refusal", "cause", "of_configuration"]


class Problem(NamedTuple):
    """One refused value. `place` names the field: "network.interfaces.eth0.mtu", "[proxy] id"."""

    place: str
    value: str
    message: str
    remedy: str

    def __str__(self) -> str:
        shown = f" = {self.value!r}" if self.value else ""
        return f"{self.place}{shown}: {self.message}. {self.remedy}"


class ApplianceError(Exception):
    """Base of all that this package raises on purpose."""


class Refusal(ApplianceError):
    """A verb that cannot be carried out; the text says why and what to do."""


class Problems(ApplianceError):
    """Everything that was refused, in the order of the fields."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def cause(error: OSError) -> str:
    """Return what the machine itself refused, and for which file, in its own words."""
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said


def of_configuration(found: errors.ConfigurationProblems) -> Problems:
    """Return the problems of a proxy.ini or a certificate as the appliance's own."""
    return Problems(
        Problem(
            one.key,
            one.value,
            f"{one.message} (line {one.line})" if one.line else one.message,
            one.remedy,
        )
        for one in found.problems
    )
