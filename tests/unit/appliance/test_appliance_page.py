"""docs/appliance.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.answers import KEYS, REQUIRED
from appliance.first_boot import _STEPS
from appliance.verbs import VERBS

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs" / "appliance.md").read_text()
_UNITS = _ROOT / "appliance" / "files" / "etc" / "systemd" / "system"


def test_the_table_of_unattended_values_is_the_code_s() -> None:
    rows = re.findall(r"^\| `([a-zN.AME0-9]+)` \| (.*) \| (.*) \| (.*) \|$", _PAGE, re.M)
    assert rows == [(key.name, key.sense, key.range, key.default) for key in KEYS]


def test_what_is_needed_is_said() -> None:
    assert "Needed are " + ", ".join(f"`{key}`" for key in REQUIRED[:-1]) in _PAGE.replace(
        "\n", " "
    )


def test_every_unit_is_explained() -> None:
    units = {path.name for path in _UNITS.glob("agent-proxy*.service") if path.is_file()}
    assert sorted(name for name in units if f"`{name}`" not in _PAGE) == [
        "agent-proxy-rollback.service"  # in one row with its timer, as `.service`
    ]


def test_every_step_is_explained() -> None:
    rows = re.findall(r"^\| (\d) \| (\w+) \|", _PAGE, re.M)
    assert rows == [(str(number), name) for number, name in enumerate(_STEPS, 1)]


def test_every_verb_named_is_one() -> None:
    names = {verb.name for verb in VERBS}
    for words in re.findall(r"agent-proxy-appliance ([a-z-]+(?: [a-z-]+)?)", _PAGE):
        first = words.split()[0]
        assert words in names or first in names, words
