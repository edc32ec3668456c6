"""What there is to say about one setting.

Layer 0 (pure). Neighbours: `declarations` lists all settings, `values` reads their texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = [
    "LIST_RANGE",
    "PATH_RANGE",
    "SECRET_MINIMUM",
    "TLS_RANGE",
    "TLS_VERSIONS",
    "Declaration",
    "Kind",
    "count",
    "seconds",
]

Kind: TypeAlias = Literal[
    "address",
    "addresses",
    "choice",
    "endpoint",
    "endpoints",
    "fingerprint",
    "flag",
    "id",
    "integer",
    "interface",
    "name",
    "networks",
    "password",
    "path",
    "ports",
    "seconds",
    "secret",
    "text",
    "url",
]

SECRET_MINIMUM: Final = 32
TLS_VERSIONS: Final = ("1.0", "1.1", "1.2", "1.3")
TLS_RANGE: Final = "1.0, 1.1, 1.2 or 1.3"
LIST_RANGE: Final = "networks such as 10.0.0.0/8, separated by commas"
PATH_RANGE: Final = "a path; a relative one begins at the folder above this file's"


@dataclass(frozen=True, slots=True)
class Declaration:
    """One setting. `section` "zones.*" and "peers.*" mean each [[name]] inside that section.

    `default` is written as in the file. `low` and `high` bound numbers, `high` the length of a
    text; `choices` are the words of a choice.
    `attribute` is the field of the section's class, where it is not the key.
    """

    section: str
    key: str
    kind: Kind
    default: str
    range: str
    sense: str
    wrong: str
    unit: str = ""
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()
    attribute: str = ""

    @property
    def field(self) -> str:
        return self.attribute or self.key

    @property
    def is_secret(self) -> bool:
        return self.kind in ("secret", "password")


def seconds(
    section: str, key: str, default: str, low: float, high: float, sense: str, wrong: str
) -> Declaration:
    """Return the declaration of a time."""
    span = f"{low:g} to {high:.0f}"
    return Declaration(
        section,
        key,
        "seconds",
        default=default,
        range=span,
        sense=sense,
        wrong=wrong,
        unit="seconds",
        low=low,
        high=high,
    )


def count(
    section: str, key: str, default: int, low: int, high: int, unit: str, sense: str, wrong: str
) -> Declaration:
    """Return the declaration of a whole number of `unit`."""
    span = f"{low} to {high}"
    return Declaration(
        section,
        key,
        "integer",
        default=str(default),
        range=span,
        sense=sense,
        wrong=wrong,
        unit=unit,
        low=low,
        high=high,
    )
