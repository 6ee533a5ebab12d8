"""Pulumi's face of a baked AMI: typed inputs, the resource, its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
from pulumi.dynamic import Resource
from pulumi.resource import create_urn

from ami_provider.arguments import (
    AgentSettingsArgs,
    BaseAmiArgs,
    BuildSiteArgs,
    ContainerImageArgs,
    CopyArgs,
    ExtraStepArgs,
    ImageRecipeArgs,
    ModelArgs,
    PublicationArgs,
    RootVolumeArgs,
    SystemUpdateArgs,
    TimeoutsArgs,
    find_secrets,
    to_inputs,
)
from ami_provider.properties import OUTPUTS
from ami_provider.provider import BakedAmiProvider

__all__ = [
    "AgentSettingsArgs",
    "BakedAmi",
    "BaseAmiArgs",
    "BuildSiteArgs",
    "ContainerImageArgs",
    "CopyArgs",
    "ExtraStepArgs",
    "ImageRecipeArgs",
    "ModelArgs",
    "PublicationArgs",
    "RootVolumeArgs",
    "SystemUpdateArgs",
    "TimeoutsArgs",
]


async def find_urn(name: str, kind: str, parent: pulumi.Resource | None) -> str:
    """The resource's URN as a text: the Output depends on the parent, which, as a component, would
    be to depend on the resource itself."""
    return str(await create_urn(name, kind, parent).future())


class BakedAmi(Resource, module="baked_ami", name="BakedAmi"):
    """An AMI with container images and models in it, baked when its content changes.

    A change of `recipe` that changes content replaces the AMI (the new one first); a change of
    `site`, `tags`, `keep`, `publication` or `trusted_owners` does not. Every fault of the inputs is
    told at preview, on its own property. It leaves behind one AMI, its copies and their snapshots,
    as many earlier ones as `keep` says, and
    nothing once it is destroyed.
    """

    ami_id: pulumi.Output[str]
    """The AMI's ID; known at preview where it stays or is adopted, but for one that a refresh
    found changed by hand."""
    ami_name: pulumi.Output[str]
    """`baked-ami-<name>-<16 digits of the fingerprint>`."""
    fingerprint: pulumi.Output[str]
    """64 hexadecimal digits: the SHA-256 of the manifest."""
    manifest: pulumi.Output[dict[str, Any]]
    """What the fingerprint is taken of, readable."""
    images: pulumi.Output[list[dict[str, str]]]
    """Container images: `repository`, `tag` (or ""), `digest`, and `uri` for job definitions."""
    model_checksums: pulumi.Output[dict[str, str]]
    """Every model's SHA-256 by its path on the image, as it was baked."""
    sizes: pulumi.Output[dict[str, Any]]
    """How much is in it, about, in bytes: `image_bytes` (unpacked), `model_bytes`, `snapshot_bytes`
    (both, with the base system), and `is_whole`, False where a size is not known and counts as 0.
    Known at preview. None until the next change, where an earlier version of this made the AMI."""
    snapshot_ids: pulumi.Output[list[str]]
    """The EBS snapshots behind the AMI."""
    region: pulumi.Output[str]
    """The region the AMI is in."""
    owner_id: pulumi.Output[str]
    """`self`, or the trusted account whose AMI is used."""
    copies: pulumi.Output[dict[str, str]]
    """The copies' AMI IDs by region."""
    published: pulumi.Output[dict[str, Any]]
    """As EC2 has it: `shared_with`, `deprecate_at`, `deregistration_protection`; empty where
    nothing was asked for."""

    def __init__(
        self,
        name: str,
        *,
        recipe: ImageRecipeArgs,
        site: BuildSiteArgs,
        tags: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        keep: pulumi.Input[int] | None = None,
        publication: PublicationArgs | None = None,
        trusted_owners: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`name` becomes part of the AMI's name. `tags` go on everything that is made for it.

        `keep`: how many earlier AMIs stay for a rollback once another one has replaced them (0).
        One that is still in use is not removed; destroying the resource removes them all, and so
        does a replacement with `delete_before_replace`.

        `trusted_owners` are accounts whose shared AMIs of the same content are used instead of a
        bake. Their tags cannot be seen, so what they share is taken as verified; nothing of theirs
        is ever changed. `publication` is for AMIs of this account only.

        Where an input is an output of a resource of the same program, pass what AWS answers (an
        `arn`, an `id`, a `repository_url`) rather than a name that is known beforehand: a known
        name is looked up at preview, before the resource exists.
        """
        options = pulumi.ResourceOptions.merge(
            pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="12h")), opts
        )
        if options.import_:
            raise pulumi.RunError(
                f"BakedAmi {name!r} cannot be imported. Take `import_` out: an AMI that a BakedAmi "
                "made of this content is taken by itself, and any other has to be baked."
            )
        kind = f"pulumi-python:{self._resource_type_name}"
        urn: pulumi.Output[str] = pulumi.Output.from_input(find_urn(name, kind, options.parent))
        lineage = {
            "project": pulumi.get_project(),
            "stack": pulumi.get_stack(),
            "name": name,
            "urn": urn,
        }
        given = {
            "recipe": to_inputs(recipe),
            "site": to_inputs(site),
            "tags": to_inputs(tags or {}),
            "keep": to_inputs(keep),
            "publication": to_inputs(publication),
            "trusted_owners": to_inputs(trusted_owners),
            "lineage": lineage,
        }
        secret: pulumi.Output[list[list[str]]] = pulumi.Output.from_input(find_secrets(given))
        shown = dict.fromkeys(OUTPUTS) | {
            "secret_inputs": secret.apply(lambda found: sorted(found) or None)
        }
        super().__init__(BakedAmiProvider(), name, given | shown, options)
