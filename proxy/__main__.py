"""Where the process begins: patches for gevent where needed, then the verb."""

from __future__ import annotations

import os
import sys

# Nothing else is imported before the patch: argparse, behind this, holds no lock and no socket.
from proxy import arguments

# The worker, and what uses the worker's own code to connect. The others start faster without.
_ON_GEVENT = frozenset({"worker", "watchdog", "explain"})
_OPENSSL_CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "openssl.cnf")


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 well, 1 not, 2 configuration or usage is wrong."""
    parsed = arguments.parser().parse_args(argv)
    # OpenSSL looks when `ssl` is first imported, which is later.
    os.environ.setdefault("OPENSSL_CONF", _OPENSSL_CONF)
    if parsed.verb in _ON_GEVENT:
        from gevent import monkey

        monkey.patch_all()
    from proxy import cli

    return cli.run(parsed)


if __name__ == "__main__":
    sys.exit(main())
