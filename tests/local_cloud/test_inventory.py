"""The inventory as a reader sees it."""

from __future__ import annotations

from local_cloud.inventory import in_words


def test_a_reader_is_shown_the_beginning_of_long_values() -> None:
    tags = {"Name": "gpu", "baked-ami:manifest/0": "x" * 300}
    inventory = {"image": [{"id": "ami-1", "region": "eu-west-1", "tags": tags, "empty": None}]}
    (line,) = in_words(inventory).splitlines()
    assert line.startswith(
        "image            ami-1  region=eu-west-1  tags={Name: gpu, baked-ami:man"
    )
    assert line.endswith(f"manifest/0: {'x' * 60}…}}")
