"""Makes a release of this tree: `python -m appliance.release_build --key FILE --wheels DIR OUT`.

Shell; `make release` builds the wheel and calls it. The key that signs never lies in the tree.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from appliance import release
from appliance.errors import Refusal

__all__ = ["collect", "main"]


def collect(tree: Path, wheels: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the files and links of a release."""
    files = {f"wheels/{path.name}": path.read_bytes() for path in sorted(wheels.glob("*.whl"))}
    files["requirements.txt"] = (tree / "requirements.txt").read_bytes()
    links: dict[str, str] = {}
    for folder, name in ((tree / "appliance" / "files", "files"), (tree / "conf", "conf")):
        for path in sorted(folder.rglob("*")):
            inside = f"{name}/{path.relative_to(folder)}"
            if path.is_symlink():
                links[inside] = str(path.readlink())
            elif path.is_file():
                files[inside] = path.read_bytes()
    return files, links


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make a signed release of this tree.")
    parser.add_argument("--key", required=True, type=Path, help="Ed25519 private key, PEM")
    parser.add_argument("--wheels", required=True, type=Path, help="all wheels, ours among them")
    parser.add_argument("--tree", default=Path(), type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(argv)
    try:
        key = release.private_key(given.key.read_bytes())
        content = release.pack(given.version, *collect(given.tree, given.wheels), key)
    except (Refusal, OSError) as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    given.out.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
