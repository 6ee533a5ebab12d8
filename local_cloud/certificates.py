"""The local cloud's own certificate authority; certificates for AWS's names, made on demand."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=365)
#: An authority this close to its end is replaced, so that no run outlives its certificates.
RENEW_BEFORE = datetime.timedelta(days=7)
DOMAIN = "amazonaws.com"
LOOPBACK = "localhost"
#: A client's clock may be a little behind ours.
BACKDATED = datetime.timedelta(hours=1)


class Authority:
    """A CA kept in `folder` (`ca.pem`, and `ca-key.pem` for the owner only), and what it signs.

    It signs names under amazonaws.com, and localhost, and says so in its own certificate (name
    constraints): whoever trusts it by mistake cannot be fooled about any other name.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.ca_pem: Path = folder / "ca.pem"
        self._key, self._certificate = self._load() or self._create()
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())

    def server_context(self) -> ssl.SSLContext:
        """A context for a server: each client is shown a certificate for the name it asked for.

        A name outside amazonaws.com is refused with the TLS alert `unrecognized_name`; a client
        that sends none (it connects to an IP address) is shown that of localhost and 127.0.0.1.
        """
        context = self._issue(LOOPBACK)
        context.sni_callback = self._choose
        return context

    def _choose(
        self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        if name is None:
            return None
        name = name.lower().rstrip(".")
        if name != LOOPBACK and name != DOMAIN and not name.endswith("." + DOMAIN):
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        with self._lock:
            if name not in self._contexts:
                self._contexts[name] = self._issue(name)
            connection.context = self._contexts[name]
        return None

    def _issue(self, name: str) -> ssl.SSLContext:
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == LOOPBACK:
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_common_name("AWS in the local cloud"))
            .issuer_name(self._certificate.subject)
            .public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(self._certificate.not_valid_after_utc)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._leaf_key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return self._context_of(certificate)

    def _context_of(self, leaf: x509.Certificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["http/1.1"])
        chain = self._folder / f".leaf-{leaf.serial_number:x}.pem"  # OpenSSL reads files only
        pem = _pem_of_key(self._leaf_key) + _pem_of(leaf) + _pem_of(self._certificate)
        try:
            _write_private(chain, pem)
            context.load_cert_chain(chain)
        finally:
            chain.unlink(missing_ok=True)
        return context

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None:
        try:
            certificate = x509.load_pem_x509_certificate(self.ca_pem.read_bytes())
            key = serialization.load_pem_private_key(self._key_pem.read_bytes(), password=None)
        except (FileNotFoundError, ValueError):
            return None
        left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or left < RENEW_BEFORE:
            return None
        return (key, certificate) if key.public_key() == certificate.public_key() else None

    def _create(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = _common_name("Local cloud authority")
        permitted = [
            x509.DNSName(DOMAIN),
            x509.DNSName(LOOPBACK),
            x509.IPAddress(ipaddress.ip_network("127.0.0.0/8")),
        ]
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_signs_certificates(), critical=True)
            .add_extension(x509.NameConstraints(permitted, None), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_private(self._key_pem, _pem_of_key(key))
        _write_private(self.ca_pem, _pem_of(certificate))
        self.ca_pem.chmod(0o644)
        return key, certificate

    @property
    def _key_pem(self) -> Path:
        return self._folder / "ca-key.pem"


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, content: bytes) -> None:
    """Replace the file in one step; at no moment can anyone but its owner read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
