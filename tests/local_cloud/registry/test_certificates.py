"""The authority: what its certificates are good for, and how long it is kept."""

import datetime
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509

from local_cloud import certificates
from local_cloud.certificates import Authority


def shake_hands(authority: Authority, name: str | None, trust: Path) -> str | None:
    """One TLS connection over a socket pair; gives its version or raises the client's error."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with authority.server_context().wrap_socket(theirs, server_side=True) as server:
                server.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    client = ssl.create_default_context(cafile=str(trust))
    client.check_hostname = name is not None
    try:
        with client.wrap_socket(ours, server_hostname=name) as connection:
            return connection.version()
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize(
    "name",
    [
        "ec2.ap-northeast-2.amazonaws.com",
        "123456789012.dkr.ecr.us-east-1.amazonaws.com",
        "a.bucket.with.dots.s3.eu-west-1.amazonaws.com",
        "localhost",
        "127.0.0.1",
    ],
)
def test_every_aws_name_verifies(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    assert shake_hands(authority, name, authority.ca_pem) == "TLSv1.3"


def test_no_name_at_all_still_connects(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    assert shake_hands(authority, None, authority.ca_pem) == "TLSv1.3"


def test_other_names_are_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name in ("example.com", "notamazonaws.com"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            shake_hands(authority, name, authority.ca_pem)


def test_the_authority_itself_is_limited_to_aws_names(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(Authority(tmp_path).ca_pem.read_bytes())
    limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert x509.DNSName("amazonaws.com") in (limits.value.permitted_subtrees or [])


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ours, "sts.amazonaws.com", other.ca_pem)


def test_it_is_kept_between_starts_and_private(tmp_path: Path) -> None:
    first = Authority(tmp_path).ca_pem.read_bytes()
    assert Authority(tmp_path).ca_pem.read_bytes() == first
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o077 == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ca-key.pem", "ca.pem"]


def test_an_expired_or_damaged_one_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "LIFETIME", datetime.timedelta(minutes=1))
        first = Authority(tmp_path).ca_pem.read_bytes()
    second = Authority(tmp_path)
    assert second.ca_pem.read_bytes() != first
    assert shake_hands(second, "sts.amazonaws.com", second.ca_pem) == "TLSv1.3"
    (tmp_path / "ca-key.pem").write_text("not a key")
    third = Authority(tmp_path)
    assert shake_hands(third, "sts.amazonaws.com", third.ca_pem) == "TLSv1.3"
