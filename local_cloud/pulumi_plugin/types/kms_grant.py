"""`aws:kms/grant:Grant`: every change makes another one."""

from __future__ import annotations

from typing import Any

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.fields import boolean, text, text_set
from local_cloud.pulumi_plugin.resource_type import ResourceType
from local_cloud.pulumi_plugin.values import Props


def _create(account: Account, news: Props) -> str:
    request: Props = {
        "KeyId": news["keyId"],
        "GranteePrincipal": news["granteePrincipal"],
        "Operations": news["operations"],
    }
    if news.get("name"):
        request["Name"] = news["name"]
    if news.get("retiringPrincipal"):
        request["RetiringPrincipal"] = news["retiringPrincipal"]
    answer = account.client("kms").create_grant(**request)
    return f"{news['keyId']}:{answer['GrantId']}"


def _find(kms: Any, resource_id: str) -> Props | None:
    key, _, grant_id = resource_id.rpartition(":")
    for page in kms.get_paginator("list_grants").paginate(KeyId=key):
        for grant in page["Grants"]:
            if grant["GrantId"] == grant_id:
                return dict(grant)
    return None


def _read(account: Account, resource_id: str, state: Props) -> Props | None:
    grant = _find(account.client("kms"), resource_id)
    if grant is None:
        return None
    return {
        "grantId": grant["GrantId"],
        "granteePrincipal": grant["GranteePrincipal"],
        "keyId": resource_id.rpartition(":")[0],
        "name": grant.get("Name") or None,
        "operations": grant["Operations"],
        "retiringPrincipal": grant.get("RetiringPrincipal") or None,
        "retireOnDelete": state.get("retireOnDelete", False),
        "region": account.region,
    }


def _delete(account: Account, resource_id: str, state: Props) -> None:
    key, _, grant_id = resource_id.rpartition(":")
    kms = account.client("kms")
    if _find(kms, resource_id) is None:
        return
    if state.get("retireOnDelete"):
        kms.retire_grant(KeyId=key, GrantId=grant_id)
    else:
        kms.revoke_grant(KeyId=key, GrantId=grant_id)


GRANT = ResourceType(
    pulumi_type="aws:kms/grant:Grant",
    inputs={
        "granteePrincipal": text(required=True, replaces=True),
        "keyId": text(required=True, replaces=True),
        "name": text(replaces=True),
        "operations": text_set(required=True, replaces=True),
        "retireOnDelete": boolean(default=False, replaces=True),
        "retiringPrincipal": text(replaces=True),
    },
    outputs=("grantId", "grantToken"),
    create=_create,
    read=_read,
    delete=_delete,
)
