"""Ray on the loopback interface: what this machine alone can reach.

Ray 2.60 takes 127.0.0.1 as `_node_ip_address` for "find the machine's own address", and then listens on every
interface. Only where Ray does not do clusters, by default on macOS and Windows, it stays on loopback. That
switch works on Linux too. Ray reads it from the environment when it is imported, and so do the processes that
it starts; here it may be imported already. `tests/integration/test_loopback.py` looks at the sockets.
"""

from __future__ import annotations

import os

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_NAMES = ("127.0.0.1", "localhost", "::1")


def is_loopback(address: str) -> bool:
    """Whether `HOST:PORT` is of this machine alone.

    >>> is_loopback("127.0.0.1:6379"), is_loopback("10.0.0.1:6379"), is_loopback("")
    (True, False, False)
    """
    return address.removeprefix("ray://").rpartition(":")[0].strip("[]") in _NAMES


def stay_on_loopback() -> None:
    """Keep a Ray that this process starts, and all its processes, on loopback.

    It also lets this process join a cluster that stays there: Ray would look for it at the machine's address.
    """
    from ray._private import ray_constants

    os.environ[SWITCH] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
