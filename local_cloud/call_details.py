"""What each AWS call asked for, who asked, and how what it names is tagged: for IAM policies.

One JSON line a call, written before the call has any effect. IAM itself is not evaluated here.
"""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

from local_cloud.call import HANDLERS, Call, Params

#: EC2's IDs of the things that have tags.
_ID = re.compile(r"\b(?:ami|i|lt|sg|sir|snap|subnet|vol|vpc)-[0-9a-f]{8,17}\b")
_IMAGE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/[^/]+")
#: What ECR checks when a client of the registry's own protocol asks (ECR user guide, "Private
#: repository policies", and the service authorization reference).
_REGISTRY_ACTIONS = {
    ("manifests", "GET"): "BatchGetImage",
    ("manifests", "HEAD"): "BatchGetImage",
    ("blobs", "GET"): "GetDownloadUrlForLayer",
    ("blobs", "HEAD"): "BatchCheckLayerAvailability",
}
#: Longer texts (scripts, user data) are cut: no policy looks at them.
_LONGEST = 2_000


class CallDetails:
    """Appends to a file, from all threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._holders: dict[str, str] = {}

    def add(self, call: Call, query: dict[str, str]) -> None:
        """A call that was parsed. `query` is for S3, whose parameters are mostly there."""
        self._write(
            service=call.service,
            action=call.action,
            region=call.region,
            account=call.account,
            principal=find_principal(call.access_key, call.account),
            params=_cut(call.params),
            query=query,
            tags=_tags(call),
        )

    def hand_out(self, password: str, call: Call) -> None:
        """Remember whose the registry's password is."""
        principal = find_principal(call.access_key, call.account)
        with self._lock:
            self._holders[password] = principal

    def add_registry(self, request: Any, *, region: str, account: str) -> None:
        """A request of the registry's own protocol, as the ECR action that it needs."""
        found, login = _IMAGE.fullmatch(request.path), request.authorization
        holder = self._holders.get(getattr(login, "password", None) or "")
        if found is None or holder is None:
            return
        action = _REGISTRY_ACTIONS.get((found["kind"], request.method))
        if action is not None:
            self._write(
                service="ecr", action=action, region=region, account=account, principal=holder,
                params={"repositoryName": found["name"]}, query={}, tags={},
            )  # fmt: skip

    def _write(self, **line: Any) -> None:
        text = json.dumps(line, separators=(",", ":"), default=str) + "\n"
        with self._lock:
            if not self._file.closed:
                self._file.write(text)
                self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()


def find_principal(access_key: str, account: str) -> str:
    """The ARN of who holds the key: a role's session, else a user by the key's own name."""
    from moto.sts.models import sts_backends

    role = sts_backends[account]["aws"].get_assumed_role_from_access_key(access_key)
    if role is not None:
        return str(role.arn)
    return f"arn:aws:iam::{account}:user/{access_key or 'anonymous'}"


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value[:_LONGEST] if isinstance(value, str) else value


def _tags(call: Call) -> dict[str, dict[str, str]]:
    """The tags of everything of EC2's that the parameters name, by ID."""
    ids = sorted(set(_ID.findall(json.dumps(call.params, default=str))))
    if not ids or call.service not in ("ec2", "ssm", "batch"):
        return {}
    asked: Params = {"Filters": [{"Name": "resource-id", "Values": ids}]}
    own = Call(
        call.cloud, "ec2", "DescribeTags", asked, call.region, call.account, "", call.request_id
    )
    found: dict[str, dict[str, str]] = {}
    for tag in HANDLERS["ec2", "DescribeTags"](own)["Tags"]:
        found.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return found
