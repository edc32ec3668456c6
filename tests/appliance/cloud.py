"""What a cloud tells its machines: metadata by HTTP, and CloudStack's password server.

Run as: python -m tests.appliance.cloud DIRECTORY
Serves the files below DIRECTORY/metadata on port 80. On port 8080 it gives the password in
DIRECTORY/password to who asks for it, until it is told that it was saved.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class _Metadata(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        place = self.folder / "metadata" / self.path.lstrip("/")
        if ".." in self.path or not place.is_file():
            self.send_error(404)
            return
        self.answer(place.read_bytes())

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Password(_Metadata):
    def do_GET(self) -> None:
        kept = self.folder / "password"
        asked = self.headers.get("DomU_Request")
        if asked == "send_my_password":
            self.answer(kept.read_bytes() if kept.exists() else b"saved_password")
        elif asked == "saved_password":
            kept.unlink(missing_ok=True)
            self.answer(b"saved_password")
        else:
            self.answer(b"bad_request")


def main() -> None:
    _Metadata.folder = Path(sys.argv[1])
    servers = [HTTPServer(("", 80), _Metadata), HTTPServer(("", 8080), _Password)]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main()
