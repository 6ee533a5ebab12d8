"""The one error of this room, written for the person who typed `make`."""

from __future__ import annotations


class SetupError(Exception):
    """Something the machine lacks or refused: what happened, the evidence, and the way out."""

    def __init__(self, brief: str, *, details: str = "", resolution: str = "") -> None:
        super().__init__(brief)
        self.brief = brief
        self.details = details
        self.resolution = resolution

    def __str__(self) -> str:
        parts = [self.brief]
        if self.details:
            parts.append("\n".join(f"    {line}" for line in self.details.splitlines()))
        if self.resolution:
            parts.append(f"  To do: {self.resolution}")
        return "\n".join(parts)
