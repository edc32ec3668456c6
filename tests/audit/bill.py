"""Writes the bill of materials (CycloneDX 1.6): what the proxy runs with, by hash and licence.

bill.py REQUIREMENTS SITE OUTPUT: versions and hashes are those of the pinned REQUIREMENTS, licences
those that the packages installed in SITE declare. The same input gives the same bytes: no time,
and a serial number made of the content. What is written was validated against the schema.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def licence(found: Distribution) -> str:
    """Return what a package declares: an SPDX expression, or the words of its classifiers."""
    meta = found.metadata
    if meta["License-Expression"]:
        return str(meta["License-Expression"])
    declared = [one.split(" :: ")[-1] for one in meta.get_all("Classifier") or []
                if one.startswith("License :: ")]  # fmt: skip
    return " AND ".join(declared) or str(meta["License"] or "").splitlines()[0]


def components(requirements: str, site: Path) -> list[Component]:
    """Raises: SystemExit where a pinned package is not installed, or says no licence."""
    installed = {_plain(one.metadata["Name"]): one for one in distributions(path=[str(site)])}
    licences = LicenseFactory()
    made = []
    for name, version, rest in _PINNED.findall(requirements):
        found = installed.get(_plain(name))
        if found is None or found.version != version:
            raise SystemExit(f"{name} {version} is pinned, installed is {found and found.version}")
        purl = PackageURL("pypi", None, _plain(name), version)
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=one) for one in _HASH.findall(rest)]
        source = ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION, url=XsUri(purl.to_string()), hashes=hashes
        )
        made.append(
            Component(
                name=name,
                version=version,
                type=ComponentType.LIBRARY,
                bom_ref=purl.to_string(),
                purl=purl,
                licenses=[licences.make_from_string(licence(found))],
                external_references=[source],
            )
        )
    return made


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def bill(requirements: str, site: Path, version: str) -> str:
    """Return the whole document, validated."""
    bom = Bom(components=components(requirements, site))
    bom.metadata.component = Component(
        name="agent-proxy", version=version, type=ComponentType.APPLICATION, bom_ref="agent-proxy"
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    return text(bom)


def text(bom: Bom) -> str:
    """Return a document without its time and with a serial number of its content, validated."""
    content = json.loads(JsonV1Dot6(bom).output_as_string())
    del content["metadata"]["timestamp"], content["serialNumber"]
    name = json.dumps(content, sort_keys=True)
    content["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}"
    written = json.dumps(content, indent=2, sort_keys=True) + "\n"
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(written)
    if wrong is not None:
        raise SystemExit(f"not valid CycloneDX 1.6: {wrong}")
    return written


def main(requirements: str, site: str, output: str) -> None:
    root = Path(__file__).resolve().parents[2]
    (version,) = re.findall(r'__version__ = "(.+)"', (root / "proxy" / "__init__.py").read_text())
    written = bill(Path(requirements).read_text(), Path(site), version)
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(written)
    print(f"{output}: {written.count('pkg:pypi/')} references, CycloneDX 1.6, valid")


if __name__ == "__main__":
    main(*sys.argv[1:])
