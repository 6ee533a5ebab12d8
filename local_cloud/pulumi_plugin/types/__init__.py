"""Every resource type and function of the stand-in, by its Pulumi token."""

from __future__ import annotations

from local_cloud.pulumi_plugin.resource_type import Function, ResourceType
from local_cloud.pulumi_plugin.types import functions
from local_cloud.pulumi_plugin.types.batch_definition import JOB_DEFINITION
from local_cloud.pulumi_plugin.types.batch_environment import COMPUTE_ENVIRONMENT
from local_cloud.pulumi_plugin.types.batch_queue import JOB_QUEUE
from local_cloud.pulumi_plugin.types.ecr import REPOSITORY
from local_cloud.pulumi_plugin.types.fast_snapshot_restore import FAST_SNAPSHOT_RESTORE
from local_cloud.pulumi_plugin.types.iam_identity import INSTANCE_PROFILE, SERVICE_LINKED_ROLE
from local_cloud.pulumi_plugin.types.iam_policies import (
    POLICY,
    ROLE_POLICY,
    ROLE_POLICY_ATTACHMENT,
)
from local_cloud.pulumi_plugin.types.iam_role import ROLE
from local_cloud.pulumi_plugin.types.kms_grant import GRANT
from local_cloud.pulumi_plugin.types.launch_template import LAUNCH_TEMPLATE
from local_cloud.pulumi_plugin.types.logs import LOG_GROUP
from local_cloud.pulumi_plugin.types.s3 import BUCKET, BUCKET_OBJECTS
from local_cloud.pulumi_plugin.types.security_group import SECURITY_GROUP
from local_cloud.pulumi_plugin.types.security_group_rules import EGRESS_RULE, INGRESS_RULE

_ALL = (
    BUCKET,
    *BUCKET_OBJECTS,
    COMPUTE_ENVIRONMENT,
    EGRESS_RULE,
    FAST_SNAPSHOT_RESTORE,
    GRANT,
    INGRESS_RULE,
    INSTANCE_PROFILE,
    JOB_DEFINITION,
    JOB_QUEUE,
    LAUNCH_TEMPLATE,
    LOG_GROUP,
    POLICY,
    REPOSITORY,
    ROLE,
    ROLE_POLICY,
    ROLE_POLICY_ATTACHMENT,
    SECURITY_GROUP,
    SERVICE_LINKED_ROLE,
)

TYPES: dict[str, ResourceType] = {described.pulumi_type: described for described in _ALL}
FUNCTIONS: dict[str, Function] = {function.pulumi_type: function for function in functions.ALL}
