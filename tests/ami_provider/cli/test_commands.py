"""Every command on the local cloud, its output kept as an example; and what each one changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ami_provider import records, tags, timings
from ami_provider.checking import check_inputs
from ami_provider.cli import printing
from ami_provider.deleting import Owner, delete_ami
from ami_provider.holdings import read_lineages
from ami_provider.life import create_ami
from ami_provider.recipe import RootVolume
from ami_provider.updating import update_ami
from local_cloud.faults import Fault, Faults, Limit
from tests.ami_provider.cli.commands import EXAMPLES, LINEAGE, Shell, check_example, open_shell
from tests.ami_provider.clouds import EMPTY, SUBNETS


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    with open_shell(monkeypatch, tmp_path) as opened:
        yield opened


def bake(shell: Shell, size_gib: int) -> str:
    """An AMI of its own content: its root volume's size."""
    recipe = shell.with_recipe(root_volume={"size_gib": size_gib})
    return str(shell.json("bake", shell.write(f"{size_gib}.yaml", recipe=recipe))["ami_id"])


def test_plan_says_what_a_bake_would_be_and_changes_nothing(shell: Shell) -> None:
    shell.write()
    changes = shell.list_changes(
        lambda: check_example("plan", "plan recipe.yaml", shell.run("plan", "recipe.yaml"))
    )
    assert changes == []

    told = shell.json("plan", "recipe.yaml")["forecast"]
    assert told["outcome"] == "bake"
    assert told["seconds"] == pytest.approx(sum(s["seconds"] for s in told["stages"]))
    assert told["price"]["market"] == "spot"
    assert told["break_even"]["jobs_a_month"] > 0

    shell.json("bake", "recipe.yaml")
    again = shell.run("plan", "recipe.yaml")
    check_example("plan-adopt", "plan recipe.yaml", again)
    assert shell.json("plan", "recipe.yaml")["forecast"]["outcome"] == "adopt"


def test_a_lineage_lives_without_pulumi(shell: Shell) -> None:
    """Baked three times, listed, compared, pruned; the current AMI and one in use stay."""
    shell.write("first.yaml", recipe=shell.with_recipe(root_volume={"size_gib": 30}))
    done = shell.run("bake", "first.yaml")
    check_example("bake", "bake first.yaml", done)
    assert shell.run("bake", "first.yaml").exit_code == 0, "it is used, not baked"
    first = shell.json("list")["amis"][0]["ami_id"]
    second, third = bake(shell, 40), bake(shell, 50)

    check_example("list", f"list {LINEAGE}", shell.run("list", LINEAGE))
    listed = shell.json("list", "shop")["amis"]
    assert [ami["ami_id"] for ami in listed] == [third, second, first]
    assert [ami["standing"] for ami in listed] == ["current", "earlier", "earlier"]
    assert {ami["holders"][0]["lineage"] for ami in listed} == {LINEAGE}
    assert listed[0]["month_usd"] == pytest.approx(8 * 0.05), "8 GiB are stored"

    check_example("show", "show AMI", shell.run("show", third))
    check_example("show-diff", "show AMI --diff OTHER", shell.run("show", first, "--diff", third))
    shown = shell.json("show", third)
    assert shown["manifest"]["root_volume"]["size_gib"] == 50
    assert shown["verified"] == "yes"
    same = shell.run("show", third, "--diff", third)
    assert "have the same content" in same.output

    used = shell.bakery.aws.ec2.run_instances(
        ImageId=second, InstanceType="g5.xlarge", MinCount=1, MaxCount=1, SubnetId=SUBNETS[0]
    )["Instances"][0]["InstanceId"]
    dry = ("prune", LINEAGE, "--keep", "0", "--dry-run")
    changes = shell.list_changes(lambda: check_example("prune-dry-run", " ".join(dry),
                                                       shell.run(*dry)))  # fmt: skip
    assert changes == []
    check_example("prune", f"prune {LINEAGE} --keep 0", shell.run("prune", LINEAGE, "--keep", "0"))
    left = {ami["ami_id"]: ami["users"] for ami in shell.json("list")["amis"]}
    assert left.keys() == {second, third}
    assert left[second] == [f"machine {used} (running)"]
    assert shell.bakery.count()["snapshots"] == 2

    kept = shell.run("prune", LINEAGE, third, "--keep", "0")
    assert kept.exit_code == 0
    assert f"stays: {third}" in kept.output


def test_what_a_stack_keeps_for_a_rollback_can_be_pruned_and_nothing_else(shell: Shell) -> None:
    """AMIs of a Pulumi resource: replaced ones that `keep` keeps, and one that a roll-out left."""
    lineage = read_lineages(LINEAGE)[0]
    bakery = shell.bakery
    owner = Owner(bakery.aws, lineage, lambda _text: None)

    def replace(size_gib: int) -> str:
        recipe = bakery.resolve(root_volume=RootVolume(size_gib=size_gib))
        return bakery.bake(recipe, lineage=lineage, keep=2).ami_id

    first = bakery.bake(lineage=lineage, keep=2)
    second = replace(40)
    delete_ami(first.ami_id, owner=owner, nonce=first.owner_nonce)  # As the engine does.
    third = replace(50)  # Whose predecessor the state still has.

    listed = {ami["ami_id"]: ami["standing"] for ami in shell.json("list", LINEAGE)["amis"]}
    assert listed == {first.ami_id: "earlier", second: "current", third: "current"}
    found = {one["ami_id"]: one for one in shell.json("prune", LINEAGE, "--keep", "0")["amis"]}
    assert found[first.ami_id]["verdict"] == "gone"
    assert found[second]["verdict"] == "kept"
    assert "its stack may still hold it" in found[second]["why"]
    assert found[third]["verdict"] == "current"
    assert bakery.count()["images"] == 2


def test_prune_takes_leftovers_of_its_lineage_too(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from ami_provider.cli import prune

    monkeypatch.setattr(prune, "LEFT_FOR", timedelta(0))
    ami = bake(shell, 30)
    volume = shell.bakery.aws.ec2.create_volume(
        AvailabilityZone=f"{shell.bakery.cloud.region}a", Size=1,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags.to_list(
            {tags.FINGERPRINT: "f", tags.LINEAGE: LINEAGE, tags.ROLE: "builder"})}],
    )["VolumeId"]  # fmt: skip

    found = shell.json("prune", LINEAGE, "--leftovers")

    assert [(row["id"], row["outcome"]) for row in found["leftovers"]] == [(volume, "removed")]
    assert [(one["ami_id"], one["verdict"]) for one in found["amis"]] == [(ami, "current")]


def test_an_ami_that_cannot_be_deleted_is_named(shell: Shell) -> None:
    bake(shell, 30)
    bake(shell, 40)
    denied = Fault(
        fault="error", action="DisableImage", code="UnauthorizedOperation", status=403,
        message="You are not authorized to perform: ec2:DisableImage",
    )  # fmt: skip
    shell.bakery.cloud.faults = Faults([denied])

    done = shell.run("prune", LINEAGE, "--keep", "0")

    assert done.exit_code == 1
    assert "not deleted: ami-" in done.output
    assert "permission ec2:DisableImage is missing" in done.output
    assert shell.bakery.count()["images"] == 2


def test_doctor_finds_all_well_and_each_thing_that_is_not(shell: Shell) -> None:
    shell.write()
    iam = shell.bakery.aws.iam
    for service in ("batch", "spot"):
        iam.create_service_linked_role(AWSServiceName=f"{service}.amazonaws.com")
    well = shell.run("doctor", "recipe.yaml")
    check_example("doctor", "doctor recipe.yaml", well)
    assert well.exit_code == 0
    assert shell.list_changes(lambda: shell.run("doctor", "recipe.yaml")) == []

    ec2 = shell.bakery.aws.ec2
    for table in ec2.describe_route_tables()["RouteTables"]:
        ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    vpc = ec2.describe_subnets(SubnetIds=[SUBNETS[0]])["Subnets"][0]["VpcId"]
    made = ec2.create_security_group(GroupName="shut", Description="no way out", VpcId=vpc)
    shut = made["GroupId"]
    ec2.revoke_security_group_egress(GroupId=shut, IpPermissions=[
        {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])  # fmt: skip
    quota = Limit(fault="quota", vcpus=0, when={"spot": True, "instance_type": "g*"})
    denied = Fault(
        fault="error", action="RunInstances", code="UnauthorizedOperation", status=403,
        message="You are not authorized to perform: ec2:RunInstances on resource: x",
    )  # fmt: skip
    shell.bakery.cloud.faults = Faults([quota, denied])
    site = shell.inputs()["site"] | {
        "security_group_ids": [shut], "logs": "s3://no-such-bucket-of-ours/logs/"
    }  # fmt: skip
    shell.write("ill.yaml", site=site)

    ill = shell.run("doctor", "ill.yaml")
    assert ill.exit_code == 1
    for part in (
        "no route to the internet", "let no 443 out", "0, but one machine takes 4",
        "no bucket 'no-such-bucket-of-ours'",
        "request-service-quota-increase", "Add an outbound rule for TCP 443",
    ):  # fmt: skip
        assert part in ill.output, ill.output

    site = shell.inputs()["site"] | {"security_group_ids": [shut]}
    shell.write("denied.yaml", site=site)
    shell.bakery.cloud.faults = Faults([quota, denied])
    check_example("doctor-ill", "doctor denied.yaml", shell.run("doctor", "denied.yaml"))

    shell.bakery.cloud.faults = Faults()
    alone = shell.json("doctor")
    assert {check["status"] for check in alone["checks"]} == {"ok"}


def test_the_recipe_file_of_the_docs_can_be_baked(shell: Shell) -> None:
    page = (EXAMPLES.parents[3] / "docs" / "command-line.md").read_text()
    shell.put("shown.yaml", page.partition("```yaml\n")[2].partition("```")[0])

    assert shell.json("plan", "shown.yaml")["forecast"]["outcome"] == "bake"
    assert shell.run("bake", "shown.yaml").exit_code == 0
    assert shell.run("doctor", "shown.yaml").exit_code == 0


def test_sweep_is_there_too(shell: Shell) -> None:
    check_example("sweep", "sweep --older-than 6h", shell.run("sweep", "--older-than", "6h"))


def test_a_manifest_that_does_not_fit_is_said_not_to_be_there(shell: Shell) -> None:
    many = {f"key-{n}": "x" for n in range(33)}
    recipe = shell.with_recipe(agent={"extra": {f"ECS_K{n}": f"{n * 7919}" for n in range(400)}})
    shell.write("big.yaml", recipe=recipe, tags=many)
    ami = shell.json("bake", "big.yaml")["ami_id"]

    shown = shell.run("show", ami)

    assert shown.exit_code == 0
    assert "its snapshots' tags do not have it" in shown.output
    compared = shell.run("show", ami, "--diff", ami)
    assert compared.exit_code == 2
    assert "is not known here" in compared.stderr
    image = shell.bakery.aws.ec2.describe_images(ImageIds=[ami])["Images"][0]
    assert timings.KEY not in tags.to_mapping(image["Tags"]), "no room for timings either"


def test_a_users_own_tags_have_the_right_of_way(shell: Shell) -> None:
    """A snapshot has 50 tags at most: what is kept of the bake makes room for them."""
    aws = shell.bakery.aws
    values = {f"ECS_K{n}": hashlib.sha256(bytes([n])).hexdigest() for n in range(110)}
    given = shell.inputs() | {"recipe": shell.with_recipe(agent={"extra": values})}
    olds = create_ami(check_inputs({}, given, lambda _: aws).inputs)
    assert len(get_snapshot_tags(shell, olds["snapshot_ids"][0])) > 25
    wanted = {f"key-{n}": "x" for n in range(35)}
    given |= {"tags": wanted}

    update_ami(olds["ami_id"], olds, check_inputs(olds, given, lambda _: aws).inputs)

    kept = get_snapshot_tags(shell, olds["snapshot_ids"][0])
    assert wanted.items() <= kept.items()
    assert records.read_manifest(kept) is None
    assert kept[tags.FINGERPRINT] == olds["fingerprint"]


def get_snapshot_tags(shell: Shell, snapshot: str) -> dict[str, str]:
    found = shell.bakery.aws.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    return tags.to_mapping(found[0]["Tags"])


def test_manifests_are_read_as_they_were_kept() -> None:
    models = [{"destination": f"/m/{n}", "sha256": f"{n:064x}"} for n in range(48)]
    manifest = {"images": [{"digest": "sha256:" + "ab" * 32}], "models": models}
    kept = records.to_tags(manifest, logs="s3://b/p/", others=14)

    assert all(len(value) <= 256 for value in kept.values())
    assert len(kept) + 14 <= 50
    assert records.read_manifest(kept) == manifest
    assert records.read_manifest({k: v for k, v in kept.items() if not k.endswith("/1")}) is None
    assert records.read_manifest({}) is None
    assert not [k for k in records.to_tags(manifest, others=49) if k.startswith(records.MANIFEST)]


def test_a_terminal_gets_tables_and_a_bar(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.write()
    monkeypatch.setattr(printing, "is_terminal", lambda: True)
    planned = shell.run("plan", "recipe.yaml")
    assert "─" in planned.output
    assert "launch a builder" in planned.output

    with printing.Bar() as bar:
        bar.report("step 2 of 8: update [the] system · 4 s · expected 1 min 30 s")
        bar.announce("AWS: ssm:SendCommand failed for now; trying again")
    told = capsys.readouterr().err
    assert "trying again" in told
    assert "update [the] system" in told


def test_a_bake_that_fails_ends_with_1_and_leaves_nothing(shell: Shell) -> None:
    shell.write()
    none = Fault(fault="error", action="CreateImage", code="InvalidParameterValue", status=400)
    shell.bakery.cloud.faults = Faults([none])

    done = shell.run("bake", "recipe.yaml")

    assert done.exit_code == 1
    assert done.stderr.startswith("error: could not image i-")
    shell.bakery.cloud.faults = Faults()
    assert shell.bakery.count() == EMPTY


def test_json_is_all_that_a_bake_prints_to_its_output(shell: Shell) -> None:
    shell.write("r.json.yaml")
    path = shell.put("recipe.json", json.dumps(shell.inputs()))

    done = shell.run("bake", path, "--json")

    assert json.loads(done.stdout)["ami_id"].startswith("ami-")
    assert "step 1 of 8: launch a builder" in done.stderr
