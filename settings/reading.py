"""Stack configuration -> `Settings`, or one error with every fault."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pydantic import ValidationError

from settings.faults import NAMESPACE, explain, innermost, placeholders
from settings.model import Settings


class SettingsError(pulumi.RunError):
    """All faults of the stack's settings, one a line; the engine shows it without a traceback."""


def read_settings(config: Mapping[str, str] | None = None, file: str = "") -> Settings:
    """The settings of the running stack, or of `config` (full key -> text, as the engine has it).

    `file` is where a reader changes them; without it the running stack's own.

    Raises `SettingsError` with every fault, each under its key. Asks nothing of AWS.
    """
    raw = pulumi.runtime.get_config_env() if config is None else dict(config)
    region = raw.get("aws:region") or os.environ.get("AWS_REGION")
    values: dict[str, Any] = {"aws:region": region} if region else {}
    faults = []
    for key, text in raw.items():
        namespace, _, name = key.partition(":")
        if namespace == NAMESPACE:
            values[name] = _structured(text)
            faults += placeholders(name, values[name])
        elif difflib.get_close_matches(namespace, [NAMESPACE], n=1, cutoff=0.75):
            faults.append((key, f"is of no use to anyone; did you mean {NAMESPACE}:{name}?"))
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults += map(explain, error.errors())
    faults = innermost(faults)
    if faults:
        lines = "\n".join(f"  {key}: {message}" for key, message in sorted(faults))
        place = file or f"Pulumi.{pulumi.get_stack()}.yaml"
        count = "1 setting is" if len(faults) == 1 else f"{len(faults)} settings are"
        raise SettingsError(
            f"{count} not usable; nothing was asked of AWS.\n{lines}\n"
            f"  Change {place}; Pulumi.example.yaml explains every key."
        )
    return settings


def read_file(file: Path) -> Settings:
    """The settings in a stack's `Pulumi.<stack>.yaml`, without an engine.

    Raises `SettingsError` for a file that is not there or not such a document, and as
    `read_settings` does.
    """
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        config = dict(document["config"])
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise SettingsError(f"is not YAML with settings under `config:` ({error})") from None
    return read_settings({key: _text(value) for key, value in config.items()}, file.name)


def _text(value: object) -> str:
    """A value of the file as the engine hands it to a program."""
    return value if isinstance(value, str) else json.dumps(value)


def _structured(text: str) -> Any:
    """Lists and maps reach the program as JSON; anything else stays text."""
    if text[:1] not in "[{":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
