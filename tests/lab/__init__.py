"""The lab: networks that the platform cannot reach, built from network namespaces.

    python -m tests.lab [scenario ...]      as root; `make lab`

`network` builds namespaces and cables, `cast` starts real workers, stand-ins and HAProxy inside
them, `scenarios` prove one thing after the other. Each proxy.ini is the one that
docs/topologies.md prints. Nothing outside the namespaces is touched; they are always removed.
"""
