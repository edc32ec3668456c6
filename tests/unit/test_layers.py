"""Layers: a module imports only from those above it, and the pure ones touch no world at all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

_PROXY = Path(__file__).parents[2] / "proxy"

# Each module may import from those before it. A new module gets its place here and in the map
# of proxy/__init__.py.
_PURE = (
    "errors fields heads reader http1 headers route proxyproto shapes declaration "
    "declarations_bounds declarations_running declarations_targets declarations values inifile "
    "gathering consistency settings zones patience callers destinations policy answers migration "
    "health"
).split()
_INPUT_OUTPUT = (
    "configuration memory deadline places descriptors duplicates local siblings interfaces stream "
    "accepted dialled tls chain certificates outcome probe resolver lease upstream agents "
    "outlet rotation telemetry metrics logs relay tunnel"
).split()
_COMPOSITION = (
    "node own voice introduction connection listener handover entrances lookout cautions admin "
    "revival watchdog worker status_text check_upstream check_listeners check_networks check verbs "
    "certificate_verbs arguments cli __main__"
).split()
_ORDER = _PURE + _INPUT_OUTPUT + _COMPOSITION
_MODULES = sorted(path.stem for path in _PROXY.glob("*.py") if path.stem != "__init__")

# admin and worker know each other: the listener shows the worker that owns it (types only).
_FOR_TYPES_ONLY = "TYPE_CHECKING"
_WORLD = "os socket ssl gevent time logging select subprocess threading urllib3 random".split()


def imports(module: str) -> set[str]:
    """Return the dotted names that `module` imports, but for those needed by types alone."""
    tree = ast.parse((_PROXY / f"{module}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith(_FOR_TYPES_ONLY):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            whole = node.module or ""
            found.update(
                f"{whole}.{alias.name}" if whole == "proxy" else whole for alias in node.names
            )
    return found


def neighbours(module: str) -> set[str]:
    names = {name.split(".")[1] for name in imports(module) if name.startswith("proxy.")}
    return names - {"__version__"}


@pytest.mark.parametrize("module", _MODULES)
def test_a_module_imports_only_from_those_above_it(module: str) -> None:
    assert module in _ORDER, "a new module: give it a place in _ORDER and in proxy/__init__.py"
    above = set(_ORDER[: _ORDER.index(module)])
    assert neighbours(module) <= above


@pytest.mark.parametrize("module", _PURE)
def test_a_pure_module_names_nothing_of_the_world(module: str) -> None:
    tops = {name.split(".")[0] for name in imports(module)}
    assert not tops & set(_WORLD)


_BLOCKED_IMPORT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("socket", "_socket", "ssl", "_ssl", "gevent", "urllib3"):
            raise ImportError(f"a pure module reached for {name}")
sys.meta_path.insert(0, Blocked())
for module in sys.argv[1:]:
    __import__(f"proxy.{module}")
"""


def test_the_pure_layer_works_where_sockets_do_not_exist() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED_IMPORT, *_PURE],
        cwd=_PROXY.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
