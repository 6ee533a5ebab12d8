"""Turns pydantic's complaints into faults: a property path and a sentence a person can act on."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong with one input: `path` as `recipe.images[0].tag`, `reason` as sentences."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class FaultsError(ValueError):
    """Every fault found in one set of inputs, each on a line of its own."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def render_path(path: Path) -> str:
    """`("recipe", "images", 0, "tag")` -> `recipe.images[0].tag`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def refuse(*found: tuple[Path, str]) -> PydanticCustomError:
    """An error for a validator to raise that carries several faults, each at its own path below."""
    listed = [{"at": list(path), "reason": reason} for path, reason in found]
    return PydanticCustomError("faults", "{text}", {"text": found[0][1], "faults": listed})


def parse(model: type[Model], data: Mapping[str, Any], path: Path = ()) -> Model:
    """Parse plain data (as JSON has it) into a model.

    Raises `FaultsError` with every fault, its path below `path`.
    """
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        details = [d for d in error.errors(include_url=False) if not _is_echo(d)]
        found = [fault for detail in details for fault in _faults(model, detail, path)]
        raise FaultsError(dict.fromkeys(found)) from None


def _is_echo(detail: ErrorDetails) -> bool:
    """A list counts as too short for pydantic when its items are faulty: those say it better."""
    return detail["type"] == "too_short" and bool(detail["input"])


def _faults(model: type[BaseModel], detail: ErrorDetails, above: Path) -> Iterator[Fault]:
    path = above + tuple(detail["loc"])
    context = detail.get("ctx", {})
    if detail["type"] == "faults":
        for found in context["faults"]:
            yield Fault(render_path(path + tuple(found["at"])), found["reason"])
        return
    yield Fault(render_path(path), _sentence(model, detail, context))


def _sentence(model: type[BaseModel], detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    given = _shown(detail["input"])
    match detail["type"]:
        case "missing":
            return "is required and was not given."
        case "extra_forbidden":
            return f"is not an input.{_nearest(model, detail['loc'])}"
        case "literal_error":
            return f"must be {context['expected']}, not {given}."
        case "string_type":
            return f"must be text, not {given}."
        case "int_type" | "int_from_float" | "int_parsing":
            return f"must be a whole number, not {given}."
        case "bool_type":
            return f"must be true or false, not {given}."
        case "tuple_type" | "list_type":
            return f"must be a list, not {given}."
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"must be a set of named values, not {given}."
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {given}."
        case "less_than_equal":
            return f"must be at most {context['le']}, not {given}."
        case "too_short":
            return "must name at least one; the list is empty."
        case "value_error":
            return str(context["error"])
    return f"{detail['msg']} (given: {given})."


def _nearest(model: type[BaseModel], loc: Path) -> str:
    """A "did you mean", from the fields of the model that holds the unknown input."""
    holder: Any = model
    for part in loc[:-1]:
        holder = _field_model(holder, part)
        if holder is None:
            return ""
    names = list(holder.model_fields)
    near = difflib.get_close_matches(str(loc[-1]), names, n=1)
    return f" Did you mean {near[0]}?" if near else f" There are: {', '.join(names)}."


def _field_model(holder: Any, part: str | int) -> Any:
    if isinstance(part, int):
        return holder
    field = holder.model_fields.get(part)
    return next(iter(_models_in(field.annotation)), None) if field else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
