"""Instance profiles on machines: associate, replace, take away, list."""

from __future__ import annotations

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_filters import filtered, page
from local_cloud.services.ec2_launch import find_profile
from local_cloud.services.ec2_model import Instance, get_instances, instances, mine, new_id


def _association(one: Instance, state: str) -> Params:
    return {
        "AssociationId": one.profile_association, "InstanceId": one.id, "State": state,
        "IamInstanceProfile": one.view.get("IamInstanceProfile", {}),
    }  # fmt: skip


def _put(call: Call, one: Instance) -> Params:
    profile = find_profile(call, call.params["IamInstanceProfile"])
    if profile is None:
        raise AwsError("MissingParameter", "The request must contain the parameter Arn or Name")
    one.view["IamInstanceProfile"] = {"Arn": profile["Arn"], "Id": profile["Id"]}
    one.profile_association = new_id("iip-assoc")
    return {"IamInstanceProfileAssociation": _association(one, "associating")}


def _get(call: Call, association_id: str) -> Instance:
    for one in mine(call, instances(call.cloud)):
        if one.profile_association == association_id:
            return one
    raise AwsError(
        "InvalidAssociationID.NotFound",
        f"An invalid association-id of '{association_id}' was given",
    )


@handles("ec2", "AssociateIamInstanceProfile")
def associate(call: Call) -> Params:
    one = get_instances(call, [call.params["InstanceId"]])[0]
    if one.profile_association:
        raise AwsError(
            "IncorrectState",
            f"There is an existing association for instance {one.id}",
        )
    return _put(call, one)


@handles("ec2", "ReplaceIamInstanceProfileAssociation")
def replace(call: Call) -> Params:
    return _put(call, _get(call, call.params["AssociationId"]))


@handles("ec2", "DisassociateIamInstanceProfile")
def disassociate(call: Call) -> Params:
    one = _get(call, call.params["AssociationId"])
    answer = {"IamInstanceProfileAssociation": _association(one, "disassociating")}
    one.profile_association = None
    one.view.pop("IamInstanceProfile", None)
    return answer


@handles("ec2", "DescribeIamInstanceProfileAssociations")
def describe(call: Call) -> Params:
    ids = call.params.get("AssociationIds")
    found = [
        _association(one, "associated")
        for one in mine(call, instances(call.cloud))
        if one.profile_association and (not ids or one.profile_association in ids)
    ]
    fields = {"instance-id": "InstanceId", "state": "State"}
    kept = filtered(call, found, fields, "DescribeIamInstanceProfileAssociations")
    return page(call, kept, "IamInstanceProfileAssociations")
