"""`settings.md`: every setting with what it takes and its default, from the models themselves."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le, MaxLen
from pydantic import AfterValidator, BaseModel, WrapValidator
from pydantic.fields import FieldInfo

from ami_provider.site import Timeouts as BakeTimeouts
from settings import Settings
from settings.model import SECTIONS

HEAD = """# Settings

*Written by `make docs` from `settings/`: change it there.*

A stack's settings stand in `Pulumi.<stack>.yaml`, each key under `config:` with `baked-ami:`
before it (`aws:region` alone is Pulumi's own).
`Pulumi.example.yaml` has them all, ready to copy. Whatever is missing, unknown or malformed is
told in one list, by key, before anything is asked of AWS:

```sh
python -m settings check --stack dev
```

What the AMI is made of (repository, tag or digest, models, base AMI, system update, root volume,
encryption) bakes another one when it changes.
Everything else is changed in place.
"""


def render() -> str:
    """The whole page."""
    parts = [HEAD, _table("All keys", Settings, lead=False)]
    parts += [_table(_title(key), model) for key, model in SECTIONS.items()]
    return "\n".join(parts)


def _title(key: str) -> str:
    return {
        "models": "Each entry of `models`",
        "timeouts": "`build.timeouts`",
        "copies": "Each entry of `publication.copies`",
    }.get(key, f"`{key}`")


def _table(title: str, model: type[BaseModel], *, lead: bool = True) -> str:
    first = (model.__doc__ or "").strip().splitlines()[0]
    lines = [f"## {title}", "", *([first, ""] if lead else [])]
    lines += ["| Key | What it is | Takes | Default |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        meaning = (field.description or "").replace("\n", " ")
        taken = "; ".join(_takes(field.annotation, field.metadata))
        cells = [f"`{field.alias or name}`", meaning, taken, _default(model, name, field)]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _takes(annotation: Any, metadata: Iterable[Any] = ()) -> Iterator[str]:
    """What may be written there, in words; the words of an error say what a shape is."""
    limits = [m for given in metadata for m in getattr(given, "metadata", [given])]
    shapes = [m.func.__doc__ for m in limits if isinstance(m, AfterValidator | WrapValidator)]
    if shapes and shapes[-1]:
        yield shapes[-1]
        return
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _takes(inner[0], inner[1:])
    elif origin in (Union, types.UnionType):
        for one in inner:
            if one is not type(None):
                yield from _takes(one, metadata)
    elif origin is Literal:
        yield " · ".join(f"`{choice}`" for choice in inner)
    elif origin is tuple:
        most = next((m.max_length for m in limits if isinstance(m, MaxLen)), None)
        yield f"a list{f' of at most {most}' if most else ''}: {'; '.join(_takes(inner[0]))}"
    elif origin is dict:
        yield "a map of texts"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "a map, below"
    elif annotation is bool:
        yield "`true` · `false`"
    elif annotation is int:
        yield _numbers(limits)
    else:
        yield "text"


def _numbers(limits: Iterable[Any]) -> str:
    known = list(limits)
    least = next((m.ge for m in known if isinstance(m, Ge)), None)
    most = next((m.le for m in known if isinstance(m, Le)), None)
    return f"{least}-{most}" if most is not None else f"{least} or more"


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if model is SECTIONS["timeouts"]:
        return f"{BakeTimeouts.model_fields[name].default:g}"
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if value is None or value in ((), {}):
        return ""
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(value)}]`" if isinstance(value, tuple) else f"`{value}`"
