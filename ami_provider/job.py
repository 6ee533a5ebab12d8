"""One bake as everything below it sees it: what is baked, where, for whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ami_provider import tags
from ami_provider.aws import Aws
from ami_provider.resolved import ResolvedRecipe
from ami_provider.site import BuildSite, Lineage
from ami_provider.stages import Stages


@dataclass(frozen=True, kw_only=True)
class Start:
    """The earlier AMI that a builder is booted from in place of the base AMI.

    `generation` counts the incremental bakes since the last full one, this one included.
    """

    ami_id: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a bake is made of. `user_tags` go onto everything it makes, beside its own.

    `attempts` is where machines were refused or lost so far, and why, in order. `start` is None
    where the builder starts from the base AMI; `refused` has the earlier AMIs from which this run
    could not bake the same as from scratch: after that it starts from the base AMI.
    """

    recipe: ResolvedRecipe
    site: BuildSite
    lineage: Lineage
    fingerprint: str
    aws: Aws
    stages: Stages
    user_tags: Mapping[str, str] = field(default_factory=dict)
    attempts: list[str] = field(default_factory=list)
    start: Start | None = None
    refused: list[str] = field(default_factory=list)

    @property
    def ami_name(self) -> str:
        return tags.get_ami_name(self.lineage.name, self.fingerprint)

    @property
    def say(self) -> Callable[[str], None]:
        return self.stages.report

    @property
    def note(self) -> Callable[[str], None]:
        """As `say`, once, and the line stays."""
        return self.stages.note

    def get_tags(self, role: tags.Role) -> dict[str, str]:
        """The tags of one thing this bake makes."""
        made = {
            "Name": self.ami_name if role == "image" else f"{self.ami_name} {role}",
            **self.user_tags,
            tags.FINGERPRINT: self.fingerprint,
            tags.LINEAGE: tags.get_path(self.lineage),
            tags.ROLE: role,
        }
        if self.start and role in ("builder", "image"):
            made |= {
                tags.FROM: self.start.ami_id,
                tags.GENERATION: str(self.start.generation),
            }
        return made
