"""Layers of the appliance: a module imports only those above it; values touch no world."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_APPLIANCE = Path(__file__).parents[3] / "appliance"
_PROXY = _APPLIANCE.parent / "proxy"

# Each module may import from those before it. A new module gets its place here and in the map
# of appliance/__init__.py.
_VALUES = (
    "errors codec model places plan ini_edit proxy_setup firewall readings fields network "
    "timekeeping access syslog updates sealed backup access_log scrub "
    "passwords answers_file answers migrations release"
).split()
_WORLD = (
    "owners pages system dry_run login facts overview journal commit reset self_test install "
    "arrivals diagnosis diagnose_machine diagnose_network diagnose_logs diagnose_arrivals "
    "diagnostics bundle disk answer_sources first_boot"
).split()
_VERBS = (
    "verb audit commit_verbs keeping settings_verbs zone_verbs platform_verbs network_verbs "
    "firewall_verbs access_verbs machine_verbs renewal service_verbs certificate_verbs "
    "backup_verbs power_verbs diagnose_verbs first_boot_verbs trial upgrade upgrade_verbs "
    "release_build loading verbs"
).split()
_CONSOLE = (
    "view effects screens entry form form_fields editor menu telling draft wizard makers work ends "
    "terminal rest console cli_values interruption cli"
).split()
_ORDER = _VALUES + _WORLD + _VERBS + _CONSOLE
_MODULES = sorted(path.stem for path in _APPLIANCE.glob("*.py") if path.stem != "__init__")
_FORBIDDEN = "os socket ssl gevent time logging select subprocess threading urllib3 random".split()


def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, `from appliance import x` as appliance.x."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            whole = node.module or ""
            packages = ("appliance", "proxy")
            found.update(
                f"{whole}.{alias.name}" if whole in packages else whole for alias in node.names
            )
    return found


@pytest.mark.parametrize("module", _MODULES)
def test_a_module_imports_only_from_those_above_it(module: str) -> None:
    assert module in _ORDER, "a new module: give it a place here and in appliance/__init__.py"
    above = set(_ORDER[: _ORDER.index(module)])
    names = imports(_APPLIANCE / f"{module}.py")
    assert {name.split(".")[1] for name in names if name.startswith("appliance.")} <= above


@pytest.mark.parametrize("module", _VALUES)
def test_a_module_of_values_names_nothing_of_the_world(module: str) -> None:
    tops = {name.split(".")[0] for name in imports(_APPLIANCE / f"{module}.py")}
    assert not tops & set(_FORBIDDEN)


def test_no_place_is_kept_for_a_module_that_is_gone() -> None:
    assert set(_ORDER) == set(_MODULES)


def test_the_map_names_every_module() -> None:
    text = (_APPLIANCE / "__init__.py").read_text()
    assert [module for module in _MODULES if module not in text] == []


@pytest.mark.parametrize("path", sorted(_PROXY.glob("*.py")), ids=lambda path: path.stem)
def test_the_proxy_knows_nothing_of_the_appliance(path: Path) -> None:
    assert not [name for name in imports(path) if name.startswith("appliance")]
