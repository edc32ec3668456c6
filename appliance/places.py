"""Where things lie on an appliance, and whose they are.

Values. Neighbours: everything above. All of the proxy's own follows from where its proxy.ini is.
"""

from __future__ import annotations

import posixpath
import sys
from typing import Final, NamedTuple

__all__ = ["CONF", "SERVICE_OWNER", "STATE", "Places"]

CONF: Final = "/opt/agent-proxy/conf/proxy.ini"
STATE: Final = "/var/lib/agent-proxy"
SERVICE_OWNER: Final = "agent-proxy:agent-proxy"


class Places(NamedTuple):
    """Those of the proxy whose configuration is `conf`."""

    conf: str

    @property
    def base(self) -> str:
        """What relative paths in proxy.ini begin at."""
        return posixpath.dirname(posixpath.dirname(self.conf))

    @property
    def var(self) -> str:
        return f"{self.base}/var"

    @property
    def logs(self) -> str:
        return f"{self.var}/log"

    @property
    def supervisor_socket(self) -> str:
        return f"{self.var}/run/supervisor.sock"

    def supervisorctl(self, *words: str) -> tuple[str, ...]:
        """Return the command line; the program is that of the release that runs this."""
        program = posixpath.join(sys.prefix, "bin", "supervisorctl")
        return (program, "-s", f"unix://{self.supervisor_socket}", *words)
