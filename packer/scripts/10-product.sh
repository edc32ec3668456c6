#!/bin/sh
# Guarantees: the agent proxy and its appliance are installed from the tree being built, by what
# `make appliance-install` runs on any machine, with the wheels that came along in /tmp/product.
# TREE_TIME is what the installed files are dated to, where builds shall be alike.
set -eu

echo "==> Installing the product"
WHEELS=/tmp/product/wheels sh /tmp/product/appliance/install.sh
# An image is no container, even where it is built in one.
systemctl --quiet disable agent-proxy-console@console.service
systemctl --quiet unmask console-getty.service

# Python keeps the time of each source beside what it compiled: the same at every build.
release=$(readlink -f /opt/agent-proxy/current)
[ -z "${TREE_TIME:-}" ] || find "$release" -exec touch -h -d "@$TREE_TIME" {} +
"$release/venv/bin/python" -m compileall -q -f -j 0 "$release/venv/lib"
