"""Opens the HTTP server of model files that machines reach by its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_cloud.lifecycle import at_start
from local_cloud.model_server import ModelServer

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud


@at_start
def open_models(cloud: Cloud) -> None:
    """Its folder is kept with the state."""
    cloud.models = ModelServer(cloud.root / "models")
