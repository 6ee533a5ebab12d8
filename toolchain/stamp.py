"""Tells a finished folder from a half-made or damaged one, by a stamp with sizes and SHA-256s."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

STAMP = "stamp.json"


def write_stamp(folder: Path) -> None:
    """Record every file below `folder` in its stamp; all of it is on disk on return."""
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    with (folder / STAMP).open("w", encoding="utf-8") as file:
        json.dump({"files": _describe(folder)}, file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())


def find_fault(folder: Path) -> str | None:
    """Say what is wrong with `folder`, or None when it is exactly what was stamped."""
    try:
        recorded = json.loads((folder / STAMP).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "it has no stamp"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its stamp cannot be read ({error})"
    found = _describe(folder)
    if not isinstance(recorded, dict) or set(recorded) != set(found):
        return "files are missing or were added"
    for name, facts in found.items():
        if recorded[name] != facts:
            return f"{name} is not what was built"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / STAMP)


def _describe(folder: Path) -> dict[str, dict[str, object]]:
    """Size in bytes, SHA-256 and "may be run" of every file, by its path inside `folder`."""
    facts: dict[str, dict[str, object]] = {}
    for path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        facts[path.relative_to(folder).as_posix()] = {
            "size": path.stat().st_size,
            "sha256": digest,
            "executable": os.access(path, os.X_OK),
        }
    return facts
