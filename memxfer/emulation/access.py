"""Who may talk to an emulator: programs on this machine, and no page in a browser."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_local_host(host: str) -> bool:
    """Say whether a Host header, with or without a port, names this machine's loopback.

    Checked on every request: a foreign page that rebinds its DNS name to 127.0.0.1 sends its own name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or is_loopback(name)


def is_local_origin(origin: str | None) -> bool:
    """Say whether a request comes from no web page, or from one served by this machine."""
    return origin is None or is_local_host(urlsplit(origin).netloc)


def is_loopback(address: str) -> bool:
    """Say whether an address is a literal loopback address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
