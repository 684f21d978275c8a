"""Providers and connections as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from memxfer.report.text import plain
from memxfer.spi import BackendInfo, ConnectionConfig, MemoryProvider

__all__ = ["check_view", "provider_facts", "provider_view", "providers_view", "roles", "setting_rows"]

_Class = type[MemoryProvider[Any]]


def roles(provider: _Class) -> str:
    """Return `source and target`, `source` or `target`."""
    return " and ".join(
        name for name, has in (("source", provider.is_source()), ("target", provider.is_target())) if has
    )


def setting_rows(model: type[BaseModel], *, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield name, type, default and meaning of every setting; nested ones as `timeouts.read`.

    A connection's own settings come before those that every connection has.
    """
    fields = model.model_fields.items()
    for name, field in sorted(fields, key=lambda item: item[0] in ConnectionConfig.model_fields):
        if _is_model(field.annotation):
            yield from setting_rows(field.annotation, prefix=f"{prefix}{name}.")
        elif prefix or name != "provider":
            yield f"{prefix}{name}", _type_name(field.annotation), _default(field), field.description or ""


def provider_facts(provider: _Class) -> dict[str, Any]:
    """Return what is known of a provider without a connection; the JSON of `providers show`."""
    names = ("name", "type", "default", "meaning")
    return {
        "name": provider.name,
        "summary": provider.summary,
        "roles": roles(provider),
        "settings": [dict(zip(names, row, strict=True)) for row in setting_rows(provider.config_model)],
    }


def providers_view(rows: Sequence[tuple[str, str, str]]) -> RenderableType:
    """Return a table of name, roles and summary."""
    table = _table("provider", "can be", "what it is")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def provider_view(provider: _Class) -> RenderableType:
    """Return what a provider is and every setting of its connection block."""
    table = _table("setting", "type", "default", "meaning")
    for row in setting_rows(provider.config_model):
        table.add_row(*map(Text, row))
    head = f"{provider.name}: {provider.summary}\nCan be: {roles(provider)}"
    return Group(Text(head), Text(), table)


def check_view(connection: str, info: BackendInfo) -> RenderableType:
    """Return what a preflight found."""
    lines = [f"{plain(connection)}: ok. {plain(info.summary)}"]
    lines += [f"  {plain(name)}: {plain(value)}" for name, value in info.details.items()]
    lines += [f"  warning: {plain(warning)}" for warning in info.warnings]
    return Text("\n".join(lines))


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles[:-1]:
        table.add_column(title, overflow="fold")
    table.add_column(titles[-1], overflow="fold", ratio=1)
    return table


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is None:
        return _plain_type(annotation)
    arguments = [part for part in get_args(annotation) if part is not type(None)]
    if all(isinstance(part, str) for part in arguments):
        return " | ".join(f'"{part}"' for part in arguments)
    if annotation.__class__.__name__ in ("UnionType", "_UnionGenericAlias"):
        return " | ".join(_type_name(part) for part in arguments)
    if hasattr(annotation, "__metadata__"):
        return _type_name(arguments[0])
    return "list" if get_origin(annotation) in (list, tuple, frozenset, set) else "table"


def _plain_type(annotation: Any) -> str:
    if annotation is SecretStr:
        return "secret"
    names = {str: "text", int: "number", float: "number", bool: "true | false"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
