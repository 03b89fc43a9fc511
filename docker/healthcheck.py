"""Checks the backend of this container: exit code 0 if its web process answers and a worker runs, else 1."""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException


def main() -> int:
    port = int(os.environ.get("APPRENTICE_PORT", "9090"))
    connection = HTTPConnection("127.0.0.1", port, timeout=8)
    try:
        connection.request("GET", "/ready")
        reply = connection.getresponse()
        body = reply.read(200).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        sys.stdout.write(f"no answer on port {port}: {error}\n")
        return 1
    finally:
        connection.close()
    sys.stdout.write(f"{body}\n")
    return 0 if reply.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
