"""`aws:iam/getPolicyDocument:getPolicyDocument`: a policy as JSON, made without asking AWS."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from local_cloud.pulumi_plugin.aws import Account
from local_cloud.pulumi_plugin.values import Props


def _one_or_more(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else sorted(values, reverse=True)


_STATEMENT = {
    "actions": "Action",
    "notActions": "NotAction",
    "resources": "Resource",
    "notResources": "NotResource",
}


def _policy_statement(given: Props) -> Props:
    statement: Props = {}
    if given.get("sid"):
        statement["Sid"] = given["sid"]
    statement["Effect"] = given.get("effect") or "Allow"
    for name, key in _STATEMENT.items():
        if given.get(name):
            statement[key] = _one_or_more(given[name])
    for name, key in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(name):
            statement[key] = _principals(given[name])
    conditions: dict[str, Any] = {}
    for condition in given.get("conditions") or []:
        values = condition["values"]
        test = conditions.setdefault(condition["test"], {})
        test[condition["variable"]] = values[0] if len(values) == 1 else values
    if conditions:
        statement["Condition"] = conditions
    return statement


def _principals(given: list[Props]) -> Any:
    if [(each["type"], each["identifiers"]) for each in given] == [("*", ["*"])]:
        return "*"
    return {each["type"]: _one_or_more(each["identifiers"]) for each in given}


def policy_document(account: Account, arguments: Props) -> Props:
    """One statement for each of the arguments', keys in the order that IAM's examples have."""
    document: Props = {"Version": arguments.get("version") or "2012-10-17"}
    if arguments.get("policyId"):
        document["Id"] = arguments["policyId"]
    document["Statement"] = [_policy_statement(each) for each in arguments.get("statements") or []]
    content = json.dumps(document, indent=2)
    return {
        "id": str(int(hashlib.sha256(content.encode()).hexdigest()[:8], 16)),
        "json": content,
        "minifiedJson": json.dumps(document, separators=(",", ":")),
        "statements": arguments.get("statements"),
        "version": document["Version"],
    }
