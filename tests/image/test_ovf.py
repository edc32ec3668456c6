"""What the OVF asks is what the first boot takes; needs no image."""

from __future__ import annotations

import re
from pathlib import Path

from appliance import answers, proxy_setup

_OVF = (Path(__file__).parents[2] / "packer" / "appliance.ovf").read_text()


def test_every_property_is_an_answer_of_the_first_boot() -> None:
    keys = re.findall(r'ovf:key="agent-proxy\.([^"]+)"', _OVF)
    known = {key.name.replace("NAME", "1") for key in answers.KEYS}
    for key in keys:
        if key not in known:
            proxy_setup.place(key)  # raises Problems where the proxy has no such setting
    assert set(answers.REQUIRED) <= set(keys)


def test_passwords_are_typed_unseen_and_nothing_is_preset() -> None:
    for line in _OVF.splitlines():
        if "<Property" in line:
            assert 'ovf:value=""' in line
            assert ('ovf:password="true"' in line) == line.split('"')[1].endswith(
                ("password", "secret")
            )
