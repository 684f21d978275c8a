"""Names for where a store is, the same by whatever way one gets there."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["address_place", "path_place"]

_PORTS = {"http": 80, "https": 443}
_HERE = "localhost"


def path_place(path: str | Path) -> str:
    """Return a name for a file or folder: through links, relative paths and `~` it stays the same."""
    place = Path(path).expanduser()
    try:
        found = place.stat()
    except OSError:
        return str(place.resolve())
    return f"{found.st_dev}:{found.st_ino}"


def address_place(url: str) -> str:
    """Return a name for a service: host, port and path, without login, query and trailing slash.

    All names of this machine's own loopback are one. No name is looked up in the network.

    Args:
        url: With or without a scheme: `http://127.0.0.1:8000/`, `localhost:5432/memories`.
    """
    parts = urlsplit(url if "://" in url else f"//{url}")
    host = (parts.hostname or "").rstrip(".")
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # no number: whatever it is, it is no usual port
        port = None
    name = _HERE if _is_loopback(host) else host
    path = "/".join(piece for piece in parts.path.split("/") if piece)
    return f"{name}:{port or ''}/{path}"


def _is_loopback(host: str) -> bool:
    if host == _HERE or host.endswith(f".{_HERE}"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(host))  # `127.1` and other old forms
        except (OSError, UnicodeError, ValueError):
            return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
