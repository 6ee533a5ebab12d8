"""The baked AMI as a Pulumi resource. Its public names are loaded when they are first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ami_provider.resource import (
        AgentSettingsArgs,
        BakedAmi,
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
    )

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


def __getattr__(name: str) -> Any:
    """Load `resource`, and with it pulumi, only for those who want the resource.

    The provider's own process and a bake without an engine import their modules directly.
    """
    if name in __all__:
        return getattr(import_module("ami_provider.resource"), name)
    raise AttributeError(f"module 'ami_provider' has no attribute {name!r}")
