"""The resolver's answers, without a network."""

from __future__ import annotations

import pytest
from dnslib import RCODE, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from local_cloud.machines.anchor import GATEWAY, METADATA
from local_cloud.machines.names import Names


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("ssm.ap-northeast-2.amazonaws.com", GATEWAY),
        ("SSM.ap-northeast-2.AmazonAWS.com.", GATEWAY),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", GATEWAY),
        ("ip-172-31-0-14.ap-northeast-2.compute.internal", "172.31.0.14"),
        ("ip-10-0-255-1.ec2.internal", "10.0.255.1"),
        ("ip-10-0-256-1.ec2.internal", None),
        ("instance-data.ec2.internal", METADATA),
        ("amazonaws.com.example.org", None),
        ("notamazonaws.com", None),
        ("example.com", None),
    ],
)
def test_what_a_name_leads_to(name: str, address: str | None) -> None:
    assert Names().find(name) == address


def test_an_added_name() -> None:
    names = Names()
    names.add("models.test")
    assert names.find("Models.test.") == GATEWAY


def test_answers_on_the_wire() -> None:
    names = Names()
    known = DNSRecord.parse(names.answer(DNSRecord.question("s3.amazonaws.com").pack()) or b"")
    assert [str(record.rdata) for record in known.rr] == [GATEWAY]
    six = DNSRecord.parse(
        names.answer(DNSRecord.question("s3.amazonaws.com", "AAAA").pack()) or b""
    )
    assert (six.header.rcode, six.rr) == (RCODE.NOERROR, [])
    unknown = DNSRecord.parse(names.answer(DNSRecord.question("example.com").pack()) or b"")
    assert (unknown.header.rcode, unknown.rr) == (RCODE.NXDOMAIN, [])


@given(st.binary(max_size=64))
def test_no_message_breaks_it(message: bytes) -> None:
    reply = Names().answer(message)
    assert reply is None or DNSRecord.parse(reply).header.qr == 1
