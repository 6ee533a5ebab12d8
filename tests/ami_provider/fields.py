"""Every leaf of a model of inputs, by its path: what a table of fields has to have a row for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


def list_leaves(model: type[BaseModel]) -> set[str]:
    """`{"base.source", "images[].tag", …}`."""
    return {
        f"{name}{rest}"
        for name, field in model.model_fields.items()
        for rest in _list_below(field.annotation)
    }


def _list_below(annotation: Any) -> Iterator[str]:
    models = list(_find_models(annotation, ""))
    if not models:
        yield ""
    for model, many in models:
        yield from (f"{many}.{leaf}" for leaf in list_leaves(model))


def _find_models(annotation: Any, many: str) -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
    is_list = getattr(annotation, "__origin__", None) in (tuple, list)
    for argument in get_args(annotation):
        yield from _find_models(argument, "[]" if is_list else many)


def list_changes(old: Any, new: Any, path: str = "") -> set[str]:
    """The leaves that differ between two dumps of one model."""
    if isinstance(old, dict) and isinstance(new, dict) and path not in ("agent.extra",):
        return {
            leaf
            for key in old.keys() | new.keys()
            for leaf in list_changes(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
        }
    if isinstance(old, list) and isinstance(new, list) and any(isinstance(i, dict) for i in old):
        pairs = zip(old, new, strict=False)
        return {leaf for a, b in pairs for leaf in list_changes(a, b, f"{path}[]")}
    return {path} if old != new else set()
