"""AWS's public parameters; those of the account are moto's."""

from __future__ import annotations

from datetime import UTC, datetime

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_base_images import CREATED, public_parameters

PUBLIC = "/aws/service/"


def _public_name(name: str) -> str | None:
    """The name of a public parameter, also from an ARN; None for one of the account's."""
    if name.startswith("arn:aws:ssm:"):
        name = "/" + name.split(":parameter/", 1)[-1]
    return name if name.startswith(PUBLIC) else None


def _view(call: Call, name: str, value: str) -> Params:
    return {
        "Name": name, "Type": "String", "Value": value, "Version": 1, "DataType": "text",
        "ARN": f"arn:aws:ssm:{call.region}::parameter{name}",
        "LastModifiedDate": CREATED if datetime.now(UTC) > CREATED else datetime.now(UTC),
    }  # fmt: skip


@handles("ssm", "GetParameter")
def get_parameter(call: Call) -> Params:
    name = _public_name(call.params["Name"])
    if name is None:
        return call.moto()
    value = public_parameters(call.cloud, call.region).get(name)
    if value is None:
        raise AwsError("ParameterNotFound", f"Parameter {name} not found.")
    return {"Parameter": _view(call, name, value)}


@handles("ssm", "GetParameters")
def get_parameters(call: Call) -> Params:
    public = public_parameters(call.cloud, call.region)
    names = {name: _public_name(name) for name in call.params["Names"]}
    own = [name for name, known in names.items() if known is None]
    answer: Params = {"Parameters": [], "InvalidParameters": []}
    if own:
        answer = call.moto(call.params | {"Names": own})
    for name, known in names.items():
        if known is not None and known in public:
            answer["Parameters"].append(_view(call, known, public[known]))
        elif known is not None:
            answer["InvalidParameters"].append(name)
    return answer


@handles("ssm", "GetParametersByPath")
def get_parameters_by_path(call: Call) -> Params:
    path = call.params["Path"].rstrip("/") + "/"
    if not path.startswith(PUBLIC):
        return call.moto()
    deep = bool(call.params.get("Recursive"))
    found = [
        _view(call, name, value)
        for name, value in sorted(public_parameters(call.cloud, call.region).items())
        if name.startswith(path) and (deep or "/" not in name.removeprefix(path))
    ]
    size = call.params.get("MaxResults", 10)
    start = int(call.params.get("NextToken") or 0)
    answer: Params = {"Parameters": found[start : start + size]}
    if start + size < len(found):
        answer["NextToken"] = str(start + size)
    return answer
