"""How well the local cloud keeps to a latency profile's speeds: set and measured, side by side.

`python benchmarks/rates.py` (root on Linux) starts a local cloud with machines that run. On them it
downloads from S3 over links of several speeds, and reads a file on volumes that are cold at several
rates: for the first time, for the second time, and with a rate of initialization.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
import click
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from local_cloud.cloud import Cloud
from local_cloud.latency import profile_of

LIMIT = 0.10
"""How far a measured speed may be from the one that was set."""
MB = 10**6
GPU_IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"},
         "Action": "sts:AssumeRole"}
    ],
}  # fmt: skip


@dataclass
class Row:
    """One measurement; `set_mb_s` is None where nothing limits it."""

    what: str
    set_mb_s: float | None
    measured_mb_s: float

    @property
    def is_kept(self) -> bool:
        return self.set_mb_s is None or abs(self.measured_mb_s / self.set_mb_s - 1) <= LIMIT


class Aws:
    """Clients of one cloud, and what this needs of machines."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        session = boto3.Session("local", "local", region_name=cloud.region)
        self.ec2 = session.client("ec2", endpoint_url=cloud.endpoint)
        self.ssm = session.client("ssm", endpoint_url=cloud.endpoint)
        self.iam = session.client("iam", endpoint_url=cloud.endpoint)
        self.s3 = session.client("s3", endpoint_url=cloud.endpoint)
        #: For URLs with AWS's own names, which the machines reach.
        self.signer = session.client("s3")
        self.iam.create_role(RoleName="machine", AssumeRolePolicyDocument=json.dumps(TRUST))
        self.iam.create_instance_profile(InstanceProfileName="machine")
        self.iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine")

    def launch(self, image: str, **disk: Any) -> str:
        """A machine whose agent is online and that has stopped reading its disk."""
        mapping: Any = [{"DeviceName": "/dev/xvda", "Ebs": disk}] if disk else []
        made = self.ec2.run_instances(
            ImageId=image, InstanceType="g5.xlarge", MinCount=1, MaxCount=1,
            IamInstanceProfile={"Name": "machine"}, BlockDeviceMappings=mapping,
        )["Instances"][0]["InstanceId"]  # fmt: skip
        while not self.ssm.describe_instance_information(
            Filters=[{"Key": "InstanceIds", "Values": [made]}]
        )["InstanceInformationList"]:
            time.sleep(0.2)
        seen = [self.cold(made)]
        while len(seen) < 10 or len(set(seen[-10:])) > 1:
            time.sleep(0.3)
            seen.append(self.cold(made))
        return str(made)

    def cold(self, machine: str) -> int:
        """Bytes on its disk that nothing has touched yet."""
        found = self.ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]
        volume = found["Instances"][0]["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
        return self.cloud.disks.cold_bytes(volume)[1]

    def run(self, machine: str, *lines: str) -> str:
        """What a script that succeeds prints."""
        command = self.ssm.send_command(
            InstanceIds=[machine], DocumentName="AWS-RunShellScript",
            Parameters={"commands": list(lines)},
        )["Command"]["CommandId"]  # fmt: skip
        while True:
            said = self.ssm.get_command_invocation(CommandId=command, InstanceId=machine)
            if said["Status"] not in ("Pending", "InProgress"):
                break
            time.sleep(0.2)
        if said["Status"] != "Success":
            raise click.ClickException(f"{lines}: {said['Status']}: {said['StandardErrorContent']}")
        return str(said["StandardOutputContent"]).strip()


def measure_links(aws: Aws, machine: str, size_mb: int) -> list[Row]:
    """Downloads by curl: one connection, then four at once."""
    here: Any = {"LocationConstraint": aws.cloud.region}
    aws.s3.create_bucket(Bucket="rates", CreateBucketConfiguration=here)
    aws.s3.put_object(Bucket="rates", Key="data", Body=bytes(size_mb * MB))
    url = aws.signer.generate_presigned_url("get_object", {"Bucket": "rates", "Key": "data"})
    fetch = f"curl -sSf -o /dev/null -w '%{{time_pretransfer}} %{{time_total}}\\n' '{url}'"

    def timed(connections: int) -> tuple[list[float], float]:
        """MB/s of each connection, and of all from the first's start to the last's end."""
        said = aws.run(
            machine, "date +%s.%N", f"for i in $(seq {connections}); do {fetch} & done; wait",
            "date +%s.%N",
        ).splitlines()  # fmt: skip
        spans = [[float(part) for part in line.split()] for line in said[1:-1]]
        whole = float(said[-1]) - float(said[0])
        return [size_mb / (end - begin) for begin, end in spans], connections * size_mb / whole

    def use(**link: float) -> None:
        aws.cloud.latency.use(profile_of({"link": link}))

    rows = []
    use()
    rows.append(Row("link without a limit", None, timed(1)[0][0]))
    for speed in (5, 20):
        use(machine_mb_per_s=speed)
        rows.append(Row("machine's link, one connection", speed, timed(1)[0][0]))
    use(machine_mb_per_s=20)
    rows.append(Row("machine's link, four connections together", 20, timed(4)[1]))
    use(machine_mb_per_s=100, connection_mb_per_s=5)
    each, _ = timed(4)
    rows.append(Row("each of four connections", 5, sum(each) / len(each)))
    use()
    return rows


def measure_cold(aws: Aws, image: str, size_mb: int) -> list[Row]:
    """Reads of one file, past the machine's own cache."""

    def read(machine: str) -> float:
        started = aws.cold(machine)
        said = aws.run(
            machine, "s=$(date +%s.%N)",
            "dd if=/opt/data of=/dev/null bs=1M iflag=direct 2> /dev/null",
            'echo "$s $(date +%s.%N)"',
        ).split()  # fmt: skip
        fetched = (started - aws.cold(machine)) / MB
        # Blocks are fetched whole: at the first read that is a little more than the file.
        return max(fetched, size_mb) / (float(said[1]) - float(said[0]))

    rows = []
    for rate in (10, 40):
        aws.cloud.latency.use(profile_of({"cold_volumes": {"first_read_mb_per_s": rate}}))
        machine = aws.launch(image)
        rows.append(Row("cold volume, first read", rate, read(machine)))
        rows.append(Row("cold volume, second read", None, read(machine)))
        aws.ec2.terminate_instances(InstanceIds=[machine])
    machine = aws.launch(image, VolumeInitializationRate=300)
    volume = aws.ec2.describe_instances(InstanceIds=[machine])["Reservations"][0]["Instances"][0]
    ids = [one["Ebs"]["VolumeId"] for one in volume["BlockDeviceMappings"]]
    while True:
        (status,) = aws.ec2.describe_volume_status(VolumeIds=ids)["VolumeStatuses"]
        if status["InitializationStatusDetails"]["Progress"] == 100:
            break
        time.sleep(0.2)
    rows.append(Row("first read after initialization at 300 MiB/s", None, read(machine)))
    aws.cloud.latency.use(profile_of({}))
    return rows


@click.command(help=__doc__)
@click.option("--size", default=100, show_default=True, type=click.IntRange(5, 1000), help="MB.")
@click.option("--json", "result_file", type=click.Path(dir_okay=False, path_type=Path))
def main(size: int, result_file: Path | None) -> None:
    """Exits 1 where a measured speed is off by more than the limit."""
    with Cloud() as cloud:
        if not cloud.real:
            raise click.ClickException("this needs machines that run: root on Linux")
        aws = Aws(cloud)
        base = aws.ssm.get_parameter(Name=GPU_IMAGE)["Parameter"]["Value"]
        machine = aws.launch(base)
        rows = measure_links(aws, machine, size)
        aws.run(machine, f"head -c {size}000000 /dev/urandom > /opt/data; sync")
        image = aws.ec2.create_image(InstanceId=machine, Name="data", NoReboot=True)["ImageId"]
        aws.ec2.get_waiter("image_available").wait(ImageIds=[image])
        rows += measure_cold(aws, image, size)
    table = Table("What", "Set, MB/s", "Measured, MB/s", "Off by", title=f"{size} MB each")
    for row in rows:
        off = "" if row.set_mb_s is None else f"{row.measured_mb_s / row.set_mb_s - 1:+.1%}"
        wanted = "" if row.set_mb_s is None else f"{row.set_mb_s:g}"
        table.add_row(row.what, wanted, f"{row.measured_mb_s:.1f}", off)
    Console().print(table)
    if result_file is not None:
        result_file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    sys.exit(0 if all(row.is_kept for row in rows) else 1)


if __name__ == "__main__":
    main()
