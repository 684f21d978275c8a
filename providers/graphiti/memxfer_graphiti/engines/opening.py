"""From settings to an open database."""

from __future__ import annotations

from memxfer.spi import Role
from memxfer_graphiti.config import GraphitiConfig
from memxfer_graphiti.engines.base import Engine

__all__ = ["open_engine"]


async def open_engine(config: GraphitiConfig, role: Role) -> Engine:
    """Open the database. A Kuzu file is not changed before the first write, which also makes a missing one.

    Raises:
        ConfigError: The file is missing, no Kuzu database, no graph of Graphiti's, or open elsewhere.
        UnavailableError, AuthError: A server does not answer, or refuses the password.
        ProviderNotInstalledError: The engine's package is missing.
    """
    if config.engine == "kuzu":
        from memxfer_graphiti.engines.kuzu import KuzuEngine

        return await KuzuEngine.open(config, role)
    from memxfer_graphiti.engines.servers import ServerEngine

    return await ServerEngine.open(config, role)
