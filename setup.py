"""Packaging of the agent proxy; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

_version = re.search(r'^__version__ = "([^"]+)"', Path("proxy/__init__.py").read_text(), re.M)
assert _version is not None

setup(
    name="agent-proxy",
    version=_version.group(1),
    description="The way between a cloud management platform and agents it cannot reach",
    packages=["proxy", "appliance"],
    package_data={"proxy": ["openssl.cnf"]},
    python_requires=">=3.11",
    install_requires=Path("requirements.in").read_text().split(),
    entry_points={
        "console_scripts": [
            "agent-proxy = proxy.__main__:main",
            "agent-proxy-appliance = appliance.cli:main",
        ]
    },
)
