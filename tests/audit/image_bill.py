"""Writes the image's bill of materials (CycloneDX 1.6): Debian's packages and Python's.

image_bill.py FOLDER REQUIREMENTS OUTPUT: FOLDER has what packer/bill.sh took out of the disk:
`status` (dpkg's), `doc` (/usr/share/doc) and `site` (the proxy's Python packages). Licences are
those that packages declare: Debian's in the copyright file that each must have. The same image
gives the same bytes: no time, and a serial number made of the content.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL

sys.path.insert(0, str(Path(__file__).parent))
import bill

# Debian's short names (DEP-5) that SPDX spells otherwise.
_SPDX = {
    "Expat": "MIT", "BSD-2-clause": "BSD-2-Clause", "BSD-3-clause": "BSD-3-Clause",
    "BSD-4-clause": "BSD-4-Clause", "Apache-2": "Apache-2.0", "ZLIB": "Zlib", "zlib": "Zlib",
    "PSF-2": "PSF-2.0", "MPL-2": "MPL-2.0", "CC0": "CC0-1.0", "Artistic": "Artistic-1.0",
}  # fmt: skip
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-(\d)(\.\d)?(\+)?(?:-only|-or-later)?$")


def packages(status: str) -> list[dict[str, str]]:
    """Return the fields of every installed package of dpkg's status, in its order."""
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found.append(fields)
    return found


def licences(text: str) -> list[str]:
    """Return the licences that a copyright file names, in SPDX's spelling where that is known."""
    if re.match(r"\s*Format:", text):
        named = re.findall(r"^License:[ \t]*(\S[^\n]*)$", text, re.MULTILINE)
        words = [word for line in named for word in re.split(r"\s+(?:and|or)\s+|,\s*", line)]
    else:  # the older, free form: it points to the texts that Debian has in one place
        words = re.findall(
            r"/usr/share/common-licenses/([A-Za-z][A-Za-z0-9.+-]*[A-Za-z0-9+])", text
        )
    spelt = {_spdx(word.strip(" ().;").removeprefix("and ")) for word in words}
    return sorted(word for word in spelt if word)


def _spdx(word: str) -> str:
    found = _GNU.match(word)
    if found is None:
        return _SPDX.get(word, word)
    kind, major, minor, later = found.groups()
    return f"{kind}-{major}{minor or '.0'}-{'or-later' if later else 'only'}"


def _licence_models(names: Iterable[str]) -> list[DisjunctiveLicense]:
    """Return one model each. No expressions: CycloneDX takes one of them, or a list of licences."""
    factory = LicenseFactory()
    return [
        factory.make_with_id(name) if is_supported_id(name) else factory.make_with_name(name)
        for name in names
    ]


def components(status: str, documents: Path) -> list[Component]:
    """Raises: SystemExit where a package has no copyright file, or one that names no licence."""
    made, silent = [], []
    for fields in packages(status):
        name, version = fields["Package"], fields["Version"]
        path = documents / name / "copyright"
        text = path.read_text(errors="replace") if path.exists() else ""
        if not text:
            silent.append(name)
            continue
        # Few say it in free words alone; whoever needs it finds it in the image.
        names = licences(text) or [f"see /usr/share/doc/{name}/copyright"]
        source = fields.get("Source", name).split()[0]
        purl = PackageURL(
            "deb", "debian", name, version, {"arch": fields["Architecture"], "distro": "debian-13"}
        )
        made.append(
            Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                bom_ref=purl.to_string(),
                purl=purl,
                licenses=_licence_models(names),
                properties=[Property(name="debian:source", value=source)],
            )
        )
    if silent:
        raise SystemExit(f"no copyright file in the image: {' '.join(silent)}")
    return made


def main(folder: str, requirements: str, output: str) -> None:
    place = Path(folder)
    root = Path(__file__).resolve().parents[2]
    (version,) = re.findall(r'__version__ = "(.+)"', (root / "proxy" / "__init__.py").read_text())
    debian = components((place / "status").read_text(), place / "doc")
    python = bill.components(Path(requirements).read_text(), place / "site")
    bom = Bom(components=[*debian, *python])
    bom.metadata.component = Component(
        name="agent-proxy-image",
        version=version,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref="agent-proxy-image",
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    Path(output).write_text(bill.text(bom))
    print(f"{output}: {len(debian)} of Debian, {len(python)} of Python, CycloneDX 1.6, valid")


if __name__ == "__main__":
    main(*sys.argv[1:])
