"""Which key a disk is encrypted with, and whose key it is."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError

#: AWS's own key for disks: the default where nobody named another one.
DEFAULT = "alias/aws/ebs"


@handles("kms", "DescribeKey")
def describe_key(call: Call) -> Params:
    """moto makes AWS's own keys when they are first named, and calls them the customer's."""
    found: Params = call.moto()["KeyMetadata"]
    with call.cloud.moto.lock:
        backend = call.cloud.moto.backend("kms", region=call.region, account=call.account)
        aliases = [one.alias_name for one in backend.list_aliases(key_id=found["KeyId"])]
    if any(alias.startswith("alias/aws/") for alias in aliases):
        found["KeyManager"] = "AWS"
    return {"KeyMetadata": found}


def encryption(call: Call, asked: Params, source: Params | None = None) -> Params:
    """`Encrypted`, and `KmsKeyId` as EBS shows it, of a disk with these settings.

    `source` is what the disk's snapshot shows: what is encrypted stays so, under the same key.
    """
    source = source or {}
    named = asked.get("KmsKeyId")
    if not (named or asked.get("Encrypted") or source.get("Encrypted")):
        return {"Encrypted": False}
    return {"Encrypted": True, "KmsKeyId": _arn(call, named or source.get("KmsKeyId") or DEFAULT)}


def _arn(call: Call, named: str) -> str:
    """The key's ARN, which EBS shows whichever way it was named."""
    try:
        found = call.moto({"KeyId": named}, action="DescribeKey", service="kms")
    except AwsError as error:
        raise AwsError(
            "InvalidParameterValue",
            f"The KMS key {named} cannot be used in {call.region}: {error.message}",
        ) from error
    return str(found["KeyMetadata"]["Arn"])
