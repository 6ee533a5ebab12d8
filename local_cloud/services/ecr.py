"""ECR's repositories, logins, policies and tags, over the registry that machines pull from."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from local_cloud.call import Call, Params, handles
from local_cloud.errors import AwsError, not_modelled
from local_cloud.registry import Registry, Scope
from local_cloud.registry.records import Repository

PAGE = 100
#: Actions of ECR's that nothing here answers; moto must not pretend to.
REFUSED = (
    "BatchGetRepositoryScanningConfiguration", "CreatePullThroughCacheRule",
    "CreateRepositoryCreationTemplate", "DeletePullThroughCacheRule", "DeleteRegistryPolicy",
    "DeleteRepositoryCreationTemplate", "DescribeImageReplicationStatus",
    "DescribeImageScanFindings", "DescribePullThroughCacheRules", "DescribeRegistry",
    "DescribeRepositoryCreationTemplates", "GetAccountSetting", "GetLifecyclePolicyPreview",
    "GetRegistryPolicy", "GetRegistryScanningConfiguration", "PutAccountSetting",
    "PutRegistryPolicy", "PutRegistryScanningConfiguration", "PutReplicationConfiguration",
    "StartImageScan", "StartLifecyclePolicyPreview", "UpdatePullThroughCacheRule",
    "UpdateRepositoryCreationTemplate", "ValidatePullThroughCacheRule",
)  # fmt: skip


def registry_of(call: Call) -> tuple[Registry, Scope]:
    """The registry, and the account and region in it that the call means.

    Another account's registry is refused, as nothing here has shared one.
    """
    registry: Registry = call.cloud.registry
    wanted = call.params.get("registryId", call.account)
    if wanted != call.account:
        raise AwsError(
            "AccessDeniedException",
            f"User: arn:aws:iam::{call.account}:root is not authorized to perform: "
            f"ecr:{call.action} on the registry of {wanted}",
        )
    return registry, Scope(account=call.account, region=call.region)


def page_of(items: Sequence[Any], call: Call, key: str) -> Params:
    """One page of a list, with the token of the next one if there is one."""
    try:
        start = int(base64.urlsafe_b64decode(call.params.get("nextToken", "MA==")))
    except ValueError:
        raise AwsError(
            "InvalidParameterException", "Invalid parameter at 'nextToken': it is not one of ours"
        ) from None
    stop = start + call.params.get("maxResults", PAGE)
    page: Params = {key: list(items[start:stop])}
    if stop < len(items):
        page["nextToken"] = base64.urlsafe_b64encode(str(stop).encode()).decode()
    return page


@handles("ecr", "CreateRepository")
def create_repository(call: Call) -> Params:
    registry, scope = registry_of(call)
    params = call.params
    with registry.catalogue.lock:
        repository = registry.catalogue.create(scope, params["repositoryName"])
        _set_mutability(repository, params)
        scanning = params.get("imageScanningConfiguration", {})
        repository.scan_on_push = scanning.get("scanOnPush", False)
        repository.encryption = params.get("encryptionConfiguration", {"encryptionType": "AES256"})
        repository.tags = {tag["Key"]: tag.get("Value", "") for tag in params.get("tags", [])}
        registry.catalogue.save()
        return {"repository": _shown(scope, repository)}


@handles("ecr", "DescribeRepositories")
def describe_repositories(call: Call) -> Params:
    registry, scope = registry_of(call)
    with registry.catalogue.lock:
        names = call.params.get("repositoryNames") or registry.catalogue.repositories(scope)
        found = [_shown(scope, registry.catalogue.get(scope, name)) for name in names]
    return page_of(found, call, "repositories")


@handles("ecr", "DeleteRepository")
def delete_repository(call: Call) -> Params:
    registry, scope = registry_of(call)
    name, force = call.params["repositoryName"], call.params.get("force", False)
    return {"repository": _shown(scope, registry.catalogue.delete(scope, name, force=force))}


@handles("ecr", "GetAuthorizationToken")
def get_authorization_token(call: Call) -> Params:
    registry, scope = registry_of(call)
    others = set(call.params.get("registryIds", [])) - {scope.account}
    if others:
        raise not_modelled(f"logins to other accounts' registries ({', '.join(sorted(others))})")
    password, expires = registry.create_token(scope)
    if call.cloud.details is not None:
        call.cloud.details.hand_out(password, call)
    login = {
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": expires,
        "proxyEndpoint": f"https://{scope.host}",
    }
    return {"authorizationData": [login]}


@handles("ecr", "PutImageTagMutability")
def put_image_tag_mutability(call: Call) -> Params:
    registry, scope, repository = _repository_of(call)
    with registry.catalogue.lock:
        _set_mutability(repository, call.params)
        registry.catalogue.save()
    return _named(scope, repository, **_mutability(repository))


@handles("ecr", "PutImageScanningConfiguration")
def put_image_scanning_configuration(call: Call) -> Params:
    registry, scope, repository = _repository_of(call)
    scanning = call.params["imageScanningConfiguration"]
    with registry.catalogue.lock:
        repository.scan_on_push = scanning.get("scanOnPush", False)
        registry.catalogue.save()
    return _named(
        scope, repository, imageScanningConfiguration={"scanOnPush": repository.scan_on_push}
    )


@handles("ecr", "SetRepositoryPolicy")
def set_repository_policy(call: Call) -> Params:
    registry, scope, repository = _repository_of(call)
    text = _checked_json(call.params["policyText"], "PolicyText")
    with registry.catalogue.lock:
        repository.policy = text
        registry.catalogue.save()
    return _named(scope, repository, policyText=text)


@handles("ecr", "GetRepositoryPolicy", "DeleteRepositoryPolicy")
def get_or_delete_repository_policy(call: Call) -> Params:
    registry, scope, repository = _repository_of(call)
    text = repository.policy
    if text is None:
        raise _lacks("RepositoryPolicyNotFoundException", "Repository policy", scope, repository)
    if call.action.startswith("Delete"):
        with registry.catalogue.lock:
            repository.policy = None
            registry.catalogue.save()
    return _named(scope, repository, policyText=text)


@handles("ecr", "PutLifecyclePolicy")
def put_lifecycle_policy(call: Call) -> Params:
    registry, scope, repository = _repository_of(call)
    text = _checked_json(call.params["lifecyclePolicyText"], "LifecyclePolicyText")
    with registry.catalogue.lock:
        repository.lifecycle_policy = text
        registry.catalogue.save()
    return _named(scope, repository, lifecyclePolicyText=text)


@handles("ecr", "GetLifecyclePolicy", "DeleteLifecyclePolicy")
def get_or_delete_lifecycle_policy(call: Call) -> Params:
    registry, scope, repository = _repository_of(call)
    text = repository.lifecycle_policy
    if text is None:
        raise _lacks("LifecyclePolicyNotFoundException", "Lifecycle policy", scope, repository)
    if call.action.startswith("Delete"):
        with registry.catalogue.lock:
            repository.lifecycle_policy = None
            registry.catalogue.save()
    return _named(scope, repository, lifecyclePolicyText=text)


@handles("ecr", "ListTagsForResource")
def list_tags_for_resource(call: Call) -> Params:
    _, _, repository = _repository_of_arn(call)
    return {"tags": [{"Key": key, "Value": value} for key, value in repository.tags.items()]}


@handles("ecr", "TagResource", "UntagResource")
def tag_or_untag_resource(call: Call) -> Params:
    registry, _, repository = _repository_of_arn(call)
    with registry.catalogue.lock:
        for tag in call.params.get("tags", []):
            repository.tags[tag["Key"]] = tag.get("Value", "")
        for key in call.params.get("tagKeys", []):
            repository.tags.pop(key, None)
        registry.catalogue.save()
    return {}


@handles("ecr", *REFUSED)
def refuse(call: Call) -> Params:
    raise not_modelled(f"ecr:{call.action}")


def _repository_of(call: Call) -> tuple[Registry, Scope, Repository]:
    registry, scope = registry_of(call)
    return registry, scope, registry.catalogue.get(scope, call.params["repositoryName"])


def _repository_of_arn(call: Call) -> tuple[Registry, Scope, Repository]:
    registry, scope = registry_of(call)
    arn: str = call.params["resourceArn"]
    name = arn.removeprefix(scope.arn(""))
    if name == arn:
        raise AwsError(
            "InvalidParameterException",
            f"Invalid parameter at 'resourceArn' failed to satisfy constraint: "
            f"'Invalid ARN': {arn} is no repository of {scope.account} in {scope.region}",
        )
    return registry, scope, registry.catalogue.get(scope, name)


def _set_mutability(repository: Repository, params: Params) -> None:
    setting = params.get("imageTagMutability", "MUTABLE")
    filters = params.get("imageTagMutabilityExclusionFilters", [])
    if setting.endswith("_WITH_EXCLUSION") != bool(filters):
        raise AwsError(
            "InvalidParameterException",
            "Invalid parameter at 'imageTagMutabilityExclusionFilters': filters go with "
            "MUTABLE_WITH_EXCLUSION and IMMUTABLE_WITH_EXCLUSION, which need at least one",
        )
    repository.mutability = setting
    repository.mutability_exclusions = filters


def _mutability(repository: Repository) -> Params:
    shown: Params = {"imageTagMutability": repository.mutability}
    if repository.mutability_exclusions:
        shown["imageTagMutabilityExclusionFilters"] = repository.mutability_exclusions
    return shown


def _shown(scope: Scope, repository: Repository) -> Params:
    return _named(
        scope,
        repository,
        repositoryArn=scope.arn(repository.name),
        repositoryUri=f"{scope.host}/{repository.name}",
        createdAt=repository.created_at,
        imageScanningConfiguration={"scanOnPush": repository.scan_on_push},
        encryptionConfiguration=repository.encryption,
        **_mutability(repository),
    )


def _named(scope: Scope, repository: Repository, **more: Any) -> Params:
    return {"registryId": scope.account, "repositoryName": repository.name, **more}


def _checked_json(text: str, what: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        raise AwsError(
            "InvalidParameterException",
            f"Invalid parameter at '{what}' failed to satisfy constraint: "
            f"'Invalid JSON syntax: {error}'",
        ) from error
    return text


def _lacks(code: str, what: str, scope: Scope, repository: Repository) -> AwsError:
    return AwsError(
        code,
        f"{what} does not exist for the repository with name '{repository.name}' in the registry "
        f"with id '{scope.account}'",
    )
