"""The report as one JSON document, `manifest.json`: for programs that go on with the AMI."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from ami_provider.report_page.facts import Report


def to_document(report: Report) -> dict[str, Any]:
    """Everything on the page as plain data: seconds, bytes, dollars, times in ISO 8601.

    `builds` and `last_run_uuid` are as in the manifest that Packer writes, so that what reads the
    AMI out of that one (`jq -r '.builds[-1].artifact_id'`: `region:ami-…`) goes on working.
    """
    ami = report.ami
    build = {
        "name": ami.lineage.rpartition("/")[2],
        "builder_type": "amazon-ebs",
        "build_time": int(ami.created.timestamp()),
        "files": None,
        "artifact_id": f"{ami.region}:{ami.id}",
        "packer_run_uuid": ami.fingerprint,
        "custom_data": {"fingerprint": ami.fingerprint, "lineage": ami.lineage},
    }
    cost = report.cost
    return {
        "version": 1,
        "made": report.made.isoformat(),
        "ami": _plain(asdict(ami)),
        "manifest": dict(report.manifest),
        "bake": {
            "seconds": report.bake_seconds if report.stages else None,
            "stages": [asdict(stage) for stage in report.stages],
        },
        "parts": [asdict(part) for part in report.parts],
        "cost": None if cost is None else asdict(cost),
        "starts": [asdict(one) for one in report.starts],
        "lineage": [_plain(asdict(one)) for one in report.lineage],
        "builds": [build],
        "last_run_uuid": ami.fingerprint,
    }


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
    }
