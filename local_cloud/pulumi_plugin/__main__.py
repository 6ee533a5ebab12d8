"""Starts the provider on a free loopback port and prints that port, as the engine expects."""

from __future__ import annotations

import importlib.util
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import grpc

_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def skip_the_sdk() -> None:
    """Let `pulumi.runtime.proto` be imported without the SDK around it.

    The SDK's own import takes more than half of the time until the port is known, twice in every
    `pulumi up`, and nothing here uses it.
    """
    found = importlib.util.find_spec("pulumi")
    if "pulumi" in sys.modules or found is None or not found.submodule_search_locations:
        return
    folder = found.submodule_search_locations[0]
    for name, path in (("pulumi", folder), ("pulumi.runtime", f"{folder}/runtime")):
        package = ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package


def main() -> int:
    """Serve until the engine ends this process, or is gone itself; exit code 0."""
    skip_the_sdk()
    from pulumi.runtime.proto import provider_pb2_grpc

    from local_cloud.pulumi_plugin.engine_watch import watch_engine
    from local_cloud.pulumi_plugin.server import AwsStandIn
    from local_cloud.signals import Signals

    signals = Signals(signal.SIGTERM, signal.SIGINT)
    server = grpc.server(ThreadPoolExecutor(max_workers=32), options=_UNLIMITED)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(AwsStandIn(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    if len(sys.argv) > 1:
        watch_engine(sys.argv[1], signals.wake)
    signals.next()
    server.stop(grace=1.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
