"""What moto's CloudWatch Logs takes and AWS does not."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError

#: Days, as the API reference of PutRetentionPolicy lists them.
RETENTION = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
     3288, 3653}
)  # fmt: skip


@handles("logs", "PutRetentionPolicy")
def put_retention_policy(call: Call) -> Params:
    if call.params["retentionInDays"] not in RETENTION:
        raise AwsError(
            "InvalidParameterException",
            f"1 validation error detected: Value '{call.params['retentionInDays']}' at"
            " 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set:"
            f" {sorted(RETENTION)}",
        )
    return call.cloud.moto.invoke(
        "logs", call.action, call.params, region=call.region, account=call.account
    )
