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
