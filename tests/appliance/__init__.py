"""The appliance on a real systemd: Debian in containers that the tests build and boot.

`base` makes Debian and the wheels once and keeps them; `container` lays a disk over it and boots
it; `conftest` installs the appliance into it as an operator would. Needs root, systemd-nspawn and
mmdebstrap; where these are missing the tests are skipped and say so.
"""
