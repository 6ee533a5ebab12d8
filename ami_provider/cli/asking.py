"""What the commands share: options, the recipe file, and how a failure becomes an exit code."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from ami_provider.aws import Aws, get_aws
from ami_provider.errors import BakeError, is_aws_error
from ami_provider.faults import FaultsError
from ami_provider.messages import to_message
from ami_provider.site import is_region

EXIT_CODES = (
    "Exit codes: 0 done; 1 something could not be done, each named; 2 the input or the "
    "credentials are not good, and nothing was changed."
)
FAILED, REFUSED = 1, 2
KEYS = ("recipe", "site", "lineage", "tags", "keep", "publication", "trusted_owners")
"""What a recipe file may hold: the inputs of the resource, by the same names."""
NEEDED = ("recipe", "site", "lineage")

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def check_region(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str:
    """A region that AWS has, as far as botocore knows."""
    if not value:
        raise click.BadParameter("name a region, here or in AWS_REGION.")
    if not is_region(value):
        raise click.BadParameter(f"{value!r} is not a region such as ap-northeast-2.")
    known = _list_regions()
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise click.BadParameter(f"AWS has no region {value!r}.{hint}")
    return value


def _list_regions() -> list[str]:
    from botocore.session import Session

    session = Session()
    partitions = session.get_available_partitions()
    return [r for p in partitions for r in session.get_available_regions("ec2", p)]


region = click.option(
    "--region", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], callback=check_region,
    help="Where to look.  [default: AWS_REGION]",
)  # fmt: skip


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The inputs in a YAML or JSON file. Ends the command where it is not such a file."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        given = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"{path} cannot be read: {error}")
    except (yaml.YAMLError, ValueError) as error:
        place = " ".join(str(error).split())
        refuse(f"{path} is not {'JSON' if path.suffix == '.json' else 'YAML'}: {place}")
    if not isinstance(given, Mapping):
        refuse(f"{path} holds no mapping. It needs {', '.join(NEEDED)}; see `plan --help`.")
    wrong = []
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(KEYS)}."
            wrong.append(f"{key}: is not known here. {hint}")
    wrong += [f"{key}: is missing." for key in NEEDED if key not in given]
    if wrong:
        refuse_all(str(path), [*wrong, *_find_more(given)])
    return {str(key): value for key, value in given.items() if value is not None}


def _find_more(given: Mapping[str, Any]) -> list[str]:
    """The faults of the parts that are there, so that all are told at once."""
    from ami_provider.asked import read_inputs

    known = {str(key): value for key, value in given.items() if key in KEYS and value is not None}
    try:
        read_inputs(known)
    except FaultsError as error:
        absent = [key for key in NEEDED if key not in given]
        return [str(f) for f in error.faults if f.path.partition(".")[0] not in absent]
    return []


def refuse(text: str) -> NoReturn:
    """End the command: the input is not good, and nothing was changed."""
    click.echo(f"error: {text}", err=True)
    raise SystemExit(REFUSED)


def refuse_all(what: str, faults: list[str]) -> NoReturn:
    """As `refuse`, with every fault on a line of its own."""
    one = len(faults) == 1
    click.echo(f"error: {what} has {'a fault' if one else f'{len(faults)} faults'}:", err=True)
    for fault in faults:
        click.echo(f"  {fault}", err=True)
    raise SystemExit(REFUSED)


@contextmanager
def looking(what: str) -> Iterator[None]:
    """While nothing is changed yet: every failure ends the command as one of its input."""
    try:
        yield
    except FaultsError as error:
        refuse_all(what, [str(fault) for fault in error.faults])
    except Exception as error:
        if not _is_told(error):
            raise
        refuse(str(to_message(error)))


@contextmanager
def acting() -> Iterator[None]:
    """While things are changed: a failure ends the command with 1."""
    try:
        yield
    except Exception as error:
        if not _is_told(error):
            raise
        click.echo(f"error: {to_message(error)}", err=True)
        raise SystemExit(FAILED) from None


def _is_told(error: Exception) -> bool:
    return isinstance(error, BakeError) or is_aws_error(error)


def open_region(name: str) -> Aws:
    """The clients of a region."""
    return get_aws(name)


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2, default=str))
