"""The resolver of a cloud's network: AWS's names lead to the cloud, a machine's own name to it,
nothing further.
"""

from __future__ import annotations

import re
import socket
import threading

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

from local_cloud.machines.anchor import GATEWAY, METADATA

_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".aws.dev", ".api.aws")
#: EC2 user guide, "Amazon EC2 instance hostname types": the name says the address.
_BY_ADDRESS = re.compile(
    r"ip-(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})\.(?:ec2\.internal|[a-z0-9-]+\.compute\.internal)"
)
_TTL_S = 60
_LONGEST_DATAGRAM = 512


class Names:
    """What the resolver knows. `add` may be called while it serves."""

    def __init__(self) -> None:
        self._extra: set[str] = set()

    def add(self, name: str) -> None:
        """Let one more host name lead to the cloud."""
        self._extra.add(name.lower().rstrip("."))

    def find(self, name: str) -> str | None:
        """The IPv4 address of a name, or None for one that does not exist here."""
        name = name.lower().rstrip(".")
        if name == "instance-data.ec2.internal":
            return METADATA
        if found := _BY_ADDRESS.fullmatch(name):
            octets = found.groups()
            return ".".join(octets) if all(int(octet) < 256 for octet in octets) else None
        return GATEWAY if name.endswith(_SUFFIXES) or name in self._extra else None

    def answer(self, request: bytes, *, longest: int = 65535) -> bytes | None:
        """The reply to a DNS message; None when it is not one."""
        try:
            asked = DNSRecord.parse(request)
            name = str(asked.q.qname)
        except Exception:  # dnslib raises whatever its parser runs into
            return None
        reply = asked.reply()
        address = self.find(name)
        if address is None:
            reply.header.rcode = RCODE.NXDOMAIN
        elif asked.q.qtype in (QTYPE.A, QTYPE.ANY):
            reply.add_answer(RR(asked.q.qname, QTYPE.A, rdata=A(address), ttl=_TTL_S))
        packed: bytes = reply.pack()
        return packed if len(packed) <= longest else reply.truncate().pack()


class NamesServer:
    """Serves `Names` on a UDP socket and a listening TCP socket that were made where it is to be
    reached.
    """

    def __init__(self, names: Names, *, udp: socket.socket, tcp: socket.socket) -> None:
        self._udp, self._tcp = udp, tcp
        self._names = names
        for work in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=work, name="names", daemon=True).start()

    def _serve_udp(self) -> None:
        while True:
            try:
                request, sender = self._udp.recvfrom(4096)
                if reply := self._names.answer(request, longest=_LONGEST_DATAGRAM):
                    self._udp.sendto(reply, sender)
            except OSError:
                if self._udp.fileno() < 0:
                    return

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            connection.settimeout(10)
            try:
                while size := stream.read(2):
                    reply = self._names.answer(stream.read(int.from_bytes(size, "big")))
                    if reply is None:
                        return
                    stream.write(len(reply).to_bytes(2, "big") + reply)
                    stream.flush()
            except OSError:
                return

    def close(self) -> None:
        for listening in (self._udp, self._tcp):
            close_waited_on(listening)


def close_waited_on(listening: socket.socket) -> None:
    """Close a socket that another thread waits on: the shutdown wakes it."""
    try:
        listening.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        listening.close()
