"""Opens the rooms beside the core: certificates, the container registry, machines and disks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_cloud.machines.contract import MachineError
from local_cloud.state import StateError

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud


def open_registry(cloud: Cloud) -> None:
    """The container registry, kept with the state."""
    from local_cloud.registry import Registry

    cloud.registry = Registry(cloud.root / "registry")


def open_machines(cloud: Cloud, *, real: bool) -> None:
    """Real machines where they can be had and are wanted; else recorded ones, which is said."""
    if not real:
        cloud.say("Machines are only recorded, as asked: nothing runs on them.")
        return
    from local_cloud.machines import real as real_machines

    why_not = real_machines.why_not_real()
    if why_not is not None:
        cloud.say(f"Machines are only recorded, nothing runs on them: {why_not}")
        return
    from local_cloud.certificates import Authority

    cloud.authority = Authority(cloud.root / "certificates")
    try:
        cloud.machines, cloud.disks = real_machines.open_real(
            cloud.root / "machines",
            app=cloud.app,
            authority=cloud.authority,
            say=cloud.say,
            temporary=cloud.temporary,
            link_speed=lambda: cloud.latency.profile.link,
        )
    except MachineError as error:
        raise StateError(f"machines cannot be run: {error}") from error
