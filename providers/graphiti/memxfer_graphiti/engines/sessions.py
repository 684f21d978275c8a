"""The vendors' own clients of Neo4j and FalkorDB, without their retries. Not run: see `servers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from memxfer_graphiti.config import GraphitiConfig
from memxfer_graphiti.sdk import import_sdk

__all__ = ["FalkorSession", "Neo4jSession"]

Statement = tuple[str, Mapping[str, Any]]


def _password(config: GraphitiConfig) -> str | None:
    return config.password.get_secret_value() if config.password else None


class Neo4jSession:
    """Queries through `neo4j`, each batch in one explicit transaction: the managed ones retry."""

    def __init__(self, config: GraphitiConfig, database: str) -> None:
        sdk = import_sdk("neo4j")
        self._errors = import_sdk("neo4j.exceptions")
        login = (config.username or "", _password(config) or "")
        self._driver = sdk.AsyncGraphDatabase.driver(
            config.uri, auth=login if any(login) else None, telemetry_disabled=True
        )
        self._database = database

    async def ask(self, cypher: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run a query that changes nothing."""
        return (await self.change([(cypher, params)]))[0]

    async def change(self, statements: Sequence[Statement]) -> list[list[dict[str, Any]]]:
        """Run queries in one transaction."""
        answers = []
        async with (
            self._driver.session(database=self._database) as session,
            await session.begin_transaction() as transaction,
        ):
            for cypher, params in statements:
                answers.append(await (await transaction.run(cypher, dict(params))).data())
            await transaction.commit()
        return answers

    def refusal(self, error: Exception) -> bool | None:
        """Tell whether the password is refused, or a query was before anything was stored."""
        if isinstance(error, self._errors.AuthError):
            return True
        return False if isinstance(error, self._errors.ClientError) else None

    async def close(self) -> None:
        """Release it."""
        await self._driver.close()


class FalkorSession:
    """Queries through `falkordb`; each is atomic by itself, several are not."""

    def __init__(self, config: GraphitiConfig, database: str) -> None:
        sdk = import_sdk("falkordb.asyncio")
        parts = urlsplit(config.uri or "")
        self._client = sdk.FalkorDB(
            host=parts.hostname or "localhost",
            port=parts.port or 6379,
            username=config.username,
            password=_password(config),
            ssl=parts.scheme in ("rediss", "falkors"),
        )
        self._graph = self._client.select_graph(database)

    async def ask(self, cypher: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run a query."""
        result = await self._graph.query(cypher, dict(params))
        names = [column[1] for column in result.header]
        return [dict(zip(names, row, strict=False)) for row in result.result_set]

    async def change(self, statements: Sequence[Statement]) -> list[list[dict[str, Any]]]:
        """Run queries one after the other; a batch that is cut short is completed when it is sent again."""
        return [await self.ask(cypher, params) for cypher, params in statements]

    def refusal(self, error: Exception) -> bool | None:
        """Tell whether the password is refused; of other errors nothing is known."""
        return True if type(error).__name__ in ("AuthenticationError", "NoPermissionError") else None

    async def close(self) -> None:
        """Release it."""
        await self._client.aclose()
