"""Versions of launch templates: made over other ones, deleted, and which are there.

moto keeps them by their place in a list and deletes none: deleted ones stay in it, marked, so that
no number is given twice.
"""

from __future__ import annotations

from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError
from local_cloud.services.ec2_model import refuse_dry_run
from local_cloud.services.ec2_network import moto_ec2

_MARK = "deleted_by_local_cloud"
#: Versions that one call deletes at most.
MOST_AT_ONCE = 200


def find_template(backend: Any, named: Params) -> Any:
    """moto's template with the ID or name. Raises as EC2 does."""
    wanted_id, wanted_name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if bool(wanted_id) == bool(wanted_name):
        raise AwsError(
            "InvalidParameterCombination",
            "Specify either the launch template's ID or its name, not both",
        )
    for template in backend.launch_templates.values():
        if wanted_id in (None, template.id) and wanted_name in (None, template.name):
            return template
    raise no_such_id(wanted_id) if wanted_id else no_such_name(wanted_name)


def no_such_id(template_id: str) -> AwsError:
    return AwsError(
        "InvalidLaunchTemplateId.NotFound",
        f"The specified launch template, with template ID {template_id}, does not exist.",
    )


def no_such_name(name: Any) -> AwsError:
    return AwsError(
        "InvalidLaunchTemplateName.NotFoundException",
        f"The specified launch template, with template name {name}, does not exist.",
    )


def versions_of(template: Any) -> list[Any]:
    """The versions that are there, oldest first; a template has at least its default one."""
    return [one for one in template.versions if not getattr(one, _MARK, False)]


def get_version(template: Any, asked: str) -> Any:
    """The version by its number, or by `$Latest` or `$Default`. Raises as EC2 does."""
    there = versions_of(template)
    if asked == "$Latest":
        return there[-1]
    wanted = str(template.default_version_number) if asked == "$Default" else asked
    for one in there:
        if str(one.number) == wanted:
            return one
    raise AwsError(
        "InvalidLaunchTemplateId.VersionNotFound",
        f"Could not find the specified version {asked} for the launch template with ID"
        f" {template.id}.",
    )


@handles("ec2", "CreateLaunchTemplateVersion")
def create_version(call: Call) -> Params:
    """Over the data of its source version, where it names one: whole parameters replace others.

    The source's snapshots are not taken over (EC2 API reference).
    """
    asked = {name: value for name, value in call.params.items() if name != "SourceVersion"}
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        template = find_template(backend, asked)
        source = call.params.get("SourceVersion")
        if source:
            number = str(get_version(template, source).number)
            only = {"LaunchTemplateId": template.id, "Versions": [number]}
            (found,) = call.moto(only, action="DescribeLaunchTemplateVersions")[
                "LaunchTemplateVersions"
            ]
            inherited = found["LaunchTemplateData"]
            for mapping in inherited.get("BlockDeviceMappings", []):
                mapping.get("Ebs", {}).pop("SnapshotId", None)
            asked["LaunchTemplateData"] = inherited | asked["LaunchTemplateData"]
        refuse_dry_run(call)
        return call.moto(asked)


@handles("ec2", "DeleteLaunchTemplateVersions")
def delete_versions(call: Call) -> Params:
    """Each version for itself: what could not be deleted comes back with its reason."""
    wanted = call.params["Versions"]
    if len(wanted) > MOST_AT_ONCE:
        raise AwsError(
            "InvalidParameterValue", f"At most {MOST_AT_ONCE} versions are deleted by one call."
        )
    for number in wanted:
        if not number.isdigit():
            raise AwsError(
                "InvalidParameterValue",
                f"'{number}' is not a version number: versions are deleted by their numbers.",
            )
    deleted, kept = [], []
    with moto_ec2(call.cloud, call.region, call.account) as backend:
        template = find_template(backend, call.params)
        refuse_dry_run(call)
        for number in wanted:
            item: Params = {
                "LaunchTemplateId": template.id, "LaunchTemplateName": template.name,
                "VersionNumber": int(number),
            }  # fmt: skip
            reason = _delete(template, number)
            if reason is None:
                deleted.append(item)
            else:
                kept.append(item | {"ResponseError": reason})
    return {
        "SuccessfullyDeletedLaunchTemplateVersions": deleted,
        "UnsuccessfullyDeletedLaunchTemplateVersions": kept,
    }


def _delete(template: Any, number: str) -> Params | None:
    """Why the version cannot be deleted, or None when it is. The codes are botocore's."""
    try:
        version = get_version(template, number)
    except AwsError as error:
        return {"Code": "launchTemplateVersionDoesNotExist", "Message": error.message}
    if version.number == template.default_version_number:
        said = "You cannot delete the default version of the launch template."
        return {"Code": "unexpectedError", "Message": said}
    setattr(version, _MARK, True)
    return None
