"""Which proxy a backend is reached through; said to the client in so many words, never found by it."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

from memxfer.errors import ConfigError
from memxfer.spi.settings import is_this_machine

__all__ = ["proxy_from_environment"]


def proxy_from_environment(base_url: str) -> str | None:
    """Return the proxy for `base_url` that the environment asks for, or `None`.

    Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, at the time of the
    call. An address of this machine never goes through a proxy: emulators stay reachable.

    Raises:
        ConfigError: The proxy is not an `http://` one; the client speaks no SOCKS.
    """
    parts = urlsplit(base_url)
    if is_this_machine(parts.hostname or ""):
        return None
    proxies = getproxies_environment()
    if proxy_bypass_environment(parts.netloc.rpartition("@")[2], proxies):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigError(
            f"{parts.scheme.upper()}_PROXY or ALL_PROXY names a {urlsplit(proxy).scheme} proxy; only http "
            f"proxies are supported. Set NO_PROXY={parts.hostname} to go without"
        )
    return proxy
