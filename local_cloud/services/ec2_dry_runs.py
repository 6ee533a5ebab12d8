"""Dry runs of EC2's calls that no handler of ours ends: nothing may come of them."""

from __future__ import annotations

import inspect

from local_cloud.call import HANDLERS, Call, Params
from local_cloud.errors import not_modelled
from local_cloud.faults import about_calls
from local_cloud.services.ec2_model import refuse_dry_run

READS = ("Describe", "Get", "List", "Search")


@about_calls
def end_dry_run(call: Call, result: Params | None) -> None:
    """One that only reads would have succeeded, if it did; moto would carry out many others."""
    if call.service != "ec2" or not call.params.get("DryRun"):
        return
    if call.action.startswith(READS):
        if result is not None:
            refuse_dry_run(call)
    elif ("ec2", call.action) not in HANDLERS and not _moto_knows_dry_runs(call.action):
        raise not_modelled(f"a dry run of ec2:{call.action}")


def _moto_knows_dry_runs(action: str) -> bool:
    from moto.core.utils import camelcase_to_underscores
    from moto.ec2.responses import EC2Response

    answering = getattr(EC2Response, camelcase_to_underscores(action), None)
    return answering is None or "error_on_dryrun" in inspect.getsource(answering)
