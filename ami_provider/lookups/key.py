"""The KMS key for an AMI's snapshots: is it there, enabled, and one that EBS can use?"""

from __future__ import annotations

from ami_provider import errors
from ami_provider.aws import Aws
from ami_provider.faults import Fault, FaultsError
from ami_provider.lookups.asking import fault_of

PATH = "recipe.encryption_key"


def check_key(key: str, aws: Aws, path: str = PATH) -> bool:
    """Whether it is a customer's own key. Raises `FaultsError` where EBS cannot use it."""
    try:
        found = aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    except Exception as error:
        if errors.is_not_found(error):
            reason = f"there is no KMS key {key!r} in {aws.region}. Correct it, or create the key."
            raise FaultsError([Fault(path, reason)]) from None
        raise fault_of(error, path, "kms:DescribeKey", on=key) from None
    if found["KeyState"] != "Enabled":
        reason = f"the KMS key {key!r} is {found['KeyState']}. Enable it, or name another key."
        raise FaultsError([Fault(path, reason)])
    if found.get("KeySpec", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        reason = f"the KMS key {key!r} is {found['KeySpec']}; EBS takes symmetric keys only."
        raise FaultsError([Fault(path, reason)])
    return bool(found.get("KeyManager", "CUSTOMER") == "CUSTOMER")
