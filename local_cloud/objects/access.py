"""Who may do what with a bucket and its objects: bucket policies, expiry, public reads."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from local_cloud.errors import AwsError
from local_cloud.objects.policy import Question, Verdict, judge

if TYPE_CHECKING:
    from local_cloud.cloud import Cloud

PERMISSIONS = {
    "HeadObject": "GetObject",
    "GetObjectAttributes": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "UploadPartCopy": "PutObject",
    "DeleteObjects": "DeleteObject",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListParts": "ListMultipartUploadParts",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}
#: An account can always undo a policy that shuts it out.
ALWAYS = {"PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy", "CreateBucket", "ListBuckets"}


class Access:
    """Judges one request. Bucket policies are real; users' and roles' own policies are not read."""

    def __init__(self, cloud: Cloud, request: Any, access_key: str, account: str) -> None:
        self._cloud, self._account = cloud, account
        self.anonymous = not access_key and "AWSAccessKeyId" not in request.args
        self._principals = () if self.anonymous else _principals(cloud, access_key, account)
        self._context = {
            # A client of the plain endpoint on loopback stands for one of AWS's TLS endpoint.
            "aws:securetransport": "true",
        }
        if not self.anonymous:
            self._context["aws:principalaccount"] = account
            self._context["aws:principalarn"] = self._principals[-1]
        if "prefix" in request.args:
            self._context["s3:prefix"] = request.args["prefix"]
        for header in ("x-amz-acl", "x-amz-server-side-encryption"):
            if header in request.headers:
                self._context[f"s3:{header}"] = request.headers[header]

    def check(
        self, action: str, bucket: str, key: str | None, *, version: str | None = None
    ) -> None:
        """Raises AwsError AccessDenied (403)."""
        if action in ALWAYS or not bucket:
            return
        name = PERMISSIONS.get(action, action)
        if version and name in ("GetObject", "DeleteObject"):
            name += "Version"
        verdict = self.judge(name, bucket, key)
        if verdict == "deny" or (self.anonymous and verdict != "allow"):
            who = self._principals[-1] if self._principals else "anonymous"
            why = (
                "with an explicit deny in a resource-based policy"
                if verdict == "deny"
                else "because no resource-based policy allows the action"
            )
            raise AwsError(
                "AccessDenied",
                f"User: {who} is not authorized to perform: s3:{name} on resource: "
                f'"{_arn(bucket, key)}" {why}',
                status=403,
            )

    def judge(self, permission: str, bucket: str, key: str | None = None) -> Verdict:
        """What the bucket's policy says of this permission, such as `ListBucket`."""
        policy = _find_policy(self._cloud, self._account, bucket)
        if policy is None:
            return "neither"
        return judge(
            policy,
            Question(
                action=f"s3:{permission}",
                resource=_arn(bucket, key),
                principals=self._principals,
                context=self._context,
            ),
        )


def check_not_expired(request: Any) -> None:
    """Raises AwsError AccessDenied for a pre-signed address whose time is over."""
    signed, seconds = request.args.get("X-Amz-Date"), request.args.get("X-Amz-Expires")
    now = datetime.datetime.now(datetime.UTC)
    if signed and seconds:
        start = datetime.datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        end = start + datetime.timedelta(seconds=int(seconds))
    elif "Expires" in request.args and "Signature" in request.args:
        end = datetime.datetime.fromtimestamp(int(request.args["Expires"]), datetime.UTC)
    else:
        return
    if now >= end:
        raise AwsError("AccessDenied", "Request has expired", status=403)


def _find_policy(cloud: Cloud, account: str, bucket: str) -> str | None:
    backend = cloud.moto.backend("s3", region="aws", account=account)
    with cloud.moto.lock:
        found = backend.buckets.get(bucket)
        return found.policy.decode() if found is not None and found.policy else None


def _principals(cloud: Cloud, access_key: str, account: str) -> tuple[str, ...]:
    """All names a caller goes by in a policy, the most exact one last."""
    names = [account, f"arn:aws:iam::{account}:root"]
    backend: Any = cloud.moto.backend("sts", region="aws", account=account)
    with cloud.moto.lock:
        role: Any = backend.get_assumed_role_from_access_key(access_key)
    if role is not None:
        names += [role.arn, role.role_arn]
    return tuple(names)


def _arn(bucket: str, key: str | None) -> str:
    return f"arn:aws:s3:::{bucket}" + (f"/{key}" if key else "")
