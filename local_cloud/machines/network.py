"""The cloud's network: a cable to each machine, and servers on the addresses that every machine
reaches.

It lives in the anchor's network namespace; the host's own network is not touched and cannot be
reached.
"""

from __future__ import annotations

import itertools
import socket

from local_cloud.machines import linux
from local_cloud.machines.anchor import GATEWAY, Anchor
from local_cloud.machines.contract import MachineSpec


class Network:
    """Cables between machines and the gateway."""

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor
        self._cables = itertools.count(1)

    def connect(self, pid: int, spec: MachineSpec) -> None:
        """Give the process's network namespace an `eth0`, and a route to it from here.

        Whatever the VPC's ranges are, a machine is one /32 behind one cable. The cable goes with
        the machine.
        """
        name = f"machine{next(self._cables)}"
        addresses = [spec.private_ip, *([spec.public_ip] if spec.public_ip else [])]
        routes = (f"route replace {one}/32 dev {name} src {GATEWAY}\n" for one in addresses)
        self._anchor.run(
            "ip", "-batch", "-", network=True,
            stdin=f"link add {name} type veth peer name eth0 netns {pid}\n"
            f"link set {name} up\n" + "".join(routes),
        )  # fmt: skip

    def listen(self, address: str, port: int, kind: socket.SocketKind) -> socket.socket:
        """A bound socket inside the network; a TCP one listens."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if kind == socket.SOCK_STREAM:
                made.listen(256)
            return made

        return linux.in_network_of(self._anchor.pid, make)
