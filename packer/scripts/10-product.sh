#!/bin/sh
# Guarantees: the agent proxy and its appliance are installed from the tree being built, by what
# `make appliance-install` runs on any machine, with the wheels that came along.
set -eu

echo "==> Installing the product"
mkdir -p /tmp/product
tar -xf /tmp/product.tar -C /tmp/product
WHEELS=/tmp/product/wheels sh /tmp/product/appliance/install.sh
