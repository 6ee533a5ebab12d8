"""The baked AMI in a program of its own: ten lines, no Batch."""

import pulumi

from ami_provider import BakedAmi, BuildSiteArgs, ContainerImageArgs, ImageRecipeArgs, ModelArgs
from ami_provider.access import BuilderAccess

get = pulumi.Config().require
repository, models = get("repositoryUrl"), get("models")
builder = BuilderAccess("builder", repositories=[repository], models=[models])
image = ContainerImageArgs(repository=repository, tag=get("imageTag"))
model = ModelArgs(source=models, destination="/opt/ml/models/")
site = BuildSiteArgs(
    region=pulumi.Config("aws").require("region"),
    subnet_ids=[get("subnetId")],
    security_group_ids=[get("securityGroupId")],
    instance_profile=builder.instance_profile,
)
recipe = ImageRecipeArgs(images=[image], models=[model])
keep = pulumi.Config().get_int("keep")
ami = BakedAmi("shared", recipe=recipe, site=site, tags={"team": get("team")}, keep=keep)
pulumi.export("amiId", ami.ami_id)
pulumi.export("modelChecksums", ami.model_checksums)
