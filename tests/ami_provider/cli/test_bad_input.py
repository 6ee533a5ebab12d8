"""Input that is not good: one clear message, exit code 2, and nothing changed in AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ami_provider.aws import get_aws
from ami_provider.cli import main
from local_cloud.calls import is_mutating
from local_cloud.faults import Fault, Faults
from tests.ami_provider.cli.commands import LINEAGE, Shell, check_example, open_shell

FAULTY = """\
lineage: {project: shop, stack: ci, name: "a name"}
recipe:
  images: [{repository: batch-processor, tag: latest}]
  models: [{source: "https://example.org/m.pt", destination: /opt/m.pt}]
site:
  region: ap-northeast-2
  subnet_ids: [subnet-1]
  instance_profile: builder
regoin: x
"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One cloud for all: nothing of this may change it."""
    folder = tmp_path_factory.mktemp("shell")
    with pytest.MonkeyPatch.context() as patch, open_shell(patch, folder) as opened:
        opened.write()
        opened.put("faulty.yaml", FAULTY)
        opened.put("list.yaml", "- 1\n")
        opened.put("broken.yaml", "recipe: [1, 2\n")
        opened.put("broken.json", '{"recipe": 1,}')
        lineage = opened.inputs()["lineage"] | {"urn": "urn:pulumi:dev::p::t::gpu"}
        opened.write("urn.yaml", lineage=lineage)
        lost = [{"source": "s3://no-such-bucket/m.pt", "destination": "/m.pt"}]
        opened.write("empty-bucket.yaml", recipe=opened.with_recipe(models=lost))
        yield opened


def find_base(shell: Shell) -> str:
    return shell.bakery.resolve().base.ami_id


OWN = "ami-0a1b2c3d4e5f60718"
CASES: dict[str, tuple[Callable[[Shell], list[str]], str]] = {
    "no AMI ID": (lambda _: ["show", "i-123"], "'i-123' is not an AMI ID such as ami-0a1b"),
    "an AMI that is not there": (lambda _: ["show", OWN], f"there is no AMI {OWN} in ap-nort"),
    "someone else's AMI": (
        lambda shell: ["show", find_base(shell)],
        "belongs to account 591542846629",
    ),
    "someone else's AMI, compared": (
        lambda shell: ["show", find_base(shell), "--diff", OWN],
        "belongs to account",
    ),
    "someone else's AMI, to go": (
        lambda shell: ["prune", LINEAGE, find_base(shell)],
        "no AMI in ap-northeast-2 is of the",
    ),
    "a lineage that is not there": (
        lambda _: ["list", "shop/prod"],
        "is of the lineage 'shop/prod'. No AMI of a bake is there",
    ),
    "a lineage that is not there, to go": (
        lambda _: ["prune", "shop/prod/gpu"],
        "is of the lineage 'shop/prod/gpu'",
    ),
    "half a lineage, to go": (
        lambda _: ["prune", "shop"],
        "'shop' is not a lineage such as baked-ami/dev/gpu.",
    ),
    "no region": (
        lambda _: ["list", "--region", "seoul"],
        "'seoul' is not a region such as ap-northeast-2",
    ),
    "a region that AWS has not": (
        lambda _: ["list", "--region", "ap-northeast-7"],
        "AWS has no region 'ap-northeast-7'. Did you mean ap-northeast-",
    ),
    "a region without the AMI": (
        lambda _: ["show", OWN, "--region", "eu-west-1"],
        f"there is no AMI {OWN} in eu-west-1",
    ),
    "no file": (lambda _: ["plan", "none.yaml"], "none.yaml cannot be read"),
    "no mapping": (lambda _: ["plan", "list.yaml"], "list.yaml holds no mapping. It needs recipe"),
    "no YAML": (lambda _: ["bake", "broken.yaml"], "broken.yaml is not YAML"),
    "no JSON": (lambda _: ["bake", "broken.json"], "broken.json is not JSON"),
    "Pulumi's own": (lambda _: ["bake", "urn.yaml"], "`pulumi up` bakes that"),
    "a bucket that is not there": (
        lambda _: ["bake", "empty-bucket.yaml"],
        "recipe.models[0].source: there is no bucket 'no-such-bucket'",
    ),
    "too much kept": (lambda _: ["prune", LINEAGE, "--keep", "-1"], "-1 is not in the range"),
    "nothing to report on": (lambda _: ["report", OWN], f"there is no AMI {OWN} in ap-nort"),
    "someone else's AMI to report on": (
        lambda shell: ["report", find_base(shell)],
        "belongs to account",
    ),
    "no lineage to report on": (
        lambda _: ["report", "shop/prod/gpu"],
        "is of the lineage 'shop/prod/gpu'",
    ),
    "no starts": (
        lambda _: ["report", OWN, "--starts", "list.yaml"],
        "list.yaml does not tell of jobs' starts",
    ),
    "no command": (lambda _: ["bkae"], "No such command 'bkae'"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_message_exit_code_2_and_nothing_changed(case: str, shell: Shell) -> None:
    arguments, message = CASES[case]
    given = arguments(shell)
    before = len(shell.bakery.cloud.calls.read())

    done = shell.run(*given)

    told = " ".join(done.stderr.split())
    assert done.exit_code == 2, (done.output, done.exception)
    assert message in told
    assert done.stdout == ""
    assert "Traceback" not in told
    calls = shell.bakery.cloud.calls.read()[before:]
    assert [call["action"] for call in calls if call["mutating"]] == []


def test_a_file_with_faults_tells_them_all(shell: Shell) -> None:
    done = shell.run("bake", "faulty.yaml")

    check_example("bake-faulty", "bake faulty.yaml", done)
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    for path in ("regoin: ", "lineage.name: ", "recipe.images[0].repository: ",
                 "recipe.models[0].sha256: ", "site.subnet_ids[0]: ",
                 "site.security_group_ids: "):  # fmt: skip
        assert any(line.startswith(f"  {path}") for line in lines), (path, done.stderr)


COMMANDS = (
    ["plan", "recipe.yaml"], ["bake", "recipe.yaml"], ["list"], ["show", OWN], ["report", OWN],
    ["prune", LINEAGE], ["doctor"], ["doctor", "recipe.yaml"], ["sweep"],
)  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_without_credentials_nothing_is_done(
    arguments: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    get_aws.cache_clear()

    done = shell.run(*arguments)

    get_aws.cache_clear()
    assert done.exit_code == 2, done.output
    assert "AWS does not accept the credentials (NoCredentialsError). Sign in again" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_with_expired_credentials_nothing_is_changed(arguments: list[str], shell: Shell) -> None:
    shell.bakery.cloud.faults = Faults([Fault(fault="expired-credentials")])
    before = len(shell.bakery.cloud.calls.read())

    done = shell.run(*arguments)

    shell.bakery.cloud.faults = Faults()
    assert done.exit_code == 2, done.output
    assert "Sign in again" in done.stderr
    assert not [c for c in shell.bakery.cloud.calls.read()[before:] if c["mutating"]]


def test_an_ami_of_this_account_that_no_bake_made_is_refused(shell: Shell) -> None:
    aws = shell.bakery.aws
    machine = aws.ec2.run_instances(
        ImageId=find_base(shell), InstanceType="g5.xlarge", MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    aws.ec2.get_waiter("instance_running").wait(InstanceIds=[machine])
    plain = aws.ec2.create_image(InstanceId=machine, Name="by-hand")["ImageId"]
    aws.ec2.terminate_instances(InstanceIds=[machine])
    mine = shell.json("bake", "recipe.yaml")["ami_id"]
    other = shell.write("other.yaml", lineage={"project": "shop", "stack": "b", "name": "gpu"},
                        recipe=shell.with_recipe(root_volume={"size_gib": 41}))  # fmt: skip
    theirs = shell.json("bake", other)["ami_id"]

    for ami, message in (
        (plain, f"{plain} was not baked by this program"),
        (find_base(shell), "belongs to account 591542846629: its tags cannot be seen from here"),
        (theirs, f"{theirs} is of the lineage 'shop/b/gpu', not of 'shop/ci/gpu'"),
    ):
        before = len(shell.bakery.cloud.calls.read())
        done = shell.run("prune", LINEAGE, ami, "--keep", "0")
        assert done.exit_code == 2
        assert message in done.stderr
        assert not [c for c in shell.bakery.cloud.calls.read()[before:] if c["mutating"]]
    assert {ami["ami_id"] for ami in shell.json("list")["amis"]} == {mine, theirs}


@pytest.mark.parametrize("name", [None, *sorted(main.commands)])
def test_every_help_tells_the_exit_codes(name: str | None, shell: Shell) -> None:
    told = " ".join(shell.run(*([name] if name else []), "--help").output.split())
    assert "Exit codes: 0 " in told
    assert "; 1 " in told
    assert "; 2 the input or the credentials are not good" in told
    if name:
        assert "--json" in told


def test_looks_are_no_changes() -> None:
    assert not is_mutating("DescribeImages")
    assert is_mutating("CreateTags")
