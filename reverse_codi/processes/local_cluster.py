"""A Ray head on this machine, with its dashboard and job server, that this machine alone can reach.

    scripts/cluster start     start it, and print how to submit a job
    scripts/cluster status    say whether it runs, and how many processes it has
    scripts/cluster stop      end it, its jobs and every process of both

It lies in a folder of its own, so it is no other Ray's business: `ray.init()` elsewhere does not join it, and
`stop` ends its processes alone, where `ray stop` ends those of all Rays on a machine. Who may use it is
decided by a token, as Ray 2.60 wants it: the one that Ray finds already, or a new one in the folder.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import requests

from reverse_codi.processes.environment import LONGEST_SOCKET, SESSION, MachineError
from reverse_codi.processes.loopback import SWITCH
from reverse_codi.processes.marked_processes import end, marked, name_of_process
from reverse_codi.storage.files import strict_json, write_whole
from reverse_codi.storage.json_files import read_object

MARK = "REVERSE_CODI_CLUSTER"
"""In the environment of all processes of a cluster: its folder."""
STATE, TOKEN, OUTPUT = "cluster.json", "auth_token", "start.log"
HOST = "127.0.0.1"
# A head on busy cores takes half a minute.
START_S = 90.0
# `ray job stop` kills a job that has not ended by then; Ray's own 3 s are too few for a checkpoint.
STOP_WAIT_S = "120"
_AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


@dataclass(frozen=True)
class Cluster:
    """A head that was started.

    Attributes:
        address: of the head, HOST:PORT; what a driver outside a job gives as RAY_ADDRESS.
        server: URL of the dashboard and the job server.
        auth: variables that whoever uses it must set, but for a token itself.
    """

    address: str
    server: str
    auth: dict[str, str]

    def exports(self) -> str:
        """The line for a shell that is to use it."""
        variables = {"RAY_API_SERVER_ADDRESS": self.server, **self.auth}
        return "export " + " ".join(f"{name}={value}" for name, value in variables.items())


def default_folder() -> Path:
    """Where a cluster lies: short, as its sockets are below it, and this user's."""
    return Path(tempfile.gettempdir(), f"reverse_codi-cluster-{os.getuid()}")


def start(folder: Path, port: int, server_port: int, cpus: int | None, gpus: int | None) -> Cluster:
    """Start a head; what a former one left in the folder is cleared away first.

    Args:
        folder: its own, made if it is not there.
        port: of the head; 0 takes a free one.
        server_port: of the dashboard and the job server; 0 takes a free one.
        cpus: that Ray counts; by default what the machine has.
        gpus: likewise.

    Raises:
        MachineError: one runs there, the folder cannot be used, a port is taken, or Ray does not start.
    """
    if found := processes(folder):
        raise MachineError(f"a cluster runs in {folder} ({len(found)} processes): scripts/cluster stop")
    _make(folder)
    port, server_port = _port(port, "--port"), _port(server_port, "--server-port")
    environment = _environment(folder)
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats"),
        *("--port", str(port), "--temp-dir", str(folder)),
        *("--include-dashboard", "true", "--dashboard-host", HOST, "--dashboard-port", str(server_port)),
        # Free ports: another Ray on this machine may have Ray's usual ones.
        *("--dashboard-agent-listen-port", "0", "--min-worker-port", "0", "--max-worker-port", "0"),
        *(("--num-cpus", str(cpus)) if cpus is not None else ()),
        *(("--num-gpus", str(gpus)) if gpus is not None else ()),
    ]
    if importlib.util.find_spec("grpc") is not None:  # Ray then serves its client, which nothing here uses
        command += ["--ray-client-server-port", str(_port(0, ""))]
    output = folder / OUTPUT  # no pipe: the head's processes would hold it open
    with output.open("wb") as said:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    auth = {name: environment[name] for name in _AUTH if name in environment and name != "RAY_AUTH_TOKEN"}
    made = Cluster(f"{HOST}:{port}", f"http://{HOST}:{server_port}", auth)
    if done.returncode or not _answers(made, environment):
        stop(folder)
        logs = folder / "session_latest" / "logs"
        raise MachineError(f"Ray did not start, see {output} and {logs}: {_tail(output)}")
    write_whole(folder / STATE, strict_json(asdict(made), indent=1) + "\n")
    return made


def running(folder: Path) -> Cluster | None:
    """The cluster of a folder, if it runs."""
    file = folder / STATE
    return Cluster(**read_object(file)) if file.is_file() and processes(folder) else None


def stop(folder: Path) -> int:
    """End every process of a cluster; returns how many there were. Its logs stay until the next start.

    Raises:
        MachineError: some do not end.
    """
    found = processes(folder)
    # The node goes before its agents, which would report its end, and the store of the cluster's state last.
    end([process for process in found if name_of_process(process) == "raylet"])
    end([process for process in processes(folder) if name_of_process(process) != "gcs_server"])
    end(processes(folder))
    if left := processes(folder):
        raise MachineError(f"processes {[process.pid for process in left]} of {folder} do not end; kill them")
    for name in (STATE, TOKEN):
        (folder / name).unlink(missing_ok=True)
    return len(found)


def processes(folder: Path) -> list[psutil.Process]:
    """All processes of a cluster, its jobs' among them."""
    return marked(MARK, str(folder))


def _make(folder: Path) -> None:
    """An empty folder that this user alone can read."""
    room = LONGEST_SOCKET - SESSION + len("/ray")
    if len(os.fsencode(folder)) > room:
        raise MachineError(f"{folder} is too long for Ray's sockets, give --folder of {room} bytes at most")
    if folder.is_symlink() or (folder.exists() and folder.stat().st_uid != os.getuid()):
        raise MachineError(f"{folder} belongs to someone else; give another --folder")
    if folder.exists() and not (folder / OUTPUT).exists() and any(folder.iterdir()):
        raise MachineError(f"{folder} holds other files; give another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)


def _environment(folder: Path) -> dict[str, str]:
    """The environment of the head, and so of jobs: on loopback, with a token, with time to stop."""
    environment = {**os.environ, SWITCH: "0", MARK: str(folder)}
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_TMPDIR"):
        environment.pop(name, None)
    # `python` in a job's command is the one that runs this.
    paths = (str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
    environment["PATH"] = os.pathsep.join(paths)
    defaults = {"RAY_AUTH_MODE": "token", "RAY_JOB_STOP_WAIT_TIME_S": STOP_WAIT_S}
    # Ray runs workers at nice 15; beside a trainer on the same cores they would starve.
    defaults |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    environment = {**defaults, **environment}
    has_token = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & environment.keys()
    if environment["RAY_AUTH_MODE"] == "token" and not has_token:
        file = Path.home() / ".ray" / "auth_token"
        if not file.is_file():
            file = folder / TOKEN
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32))
        environment["RAY_AUTH_TOKEN_PATH"] = str(file)
    return environment


def _port(port: int, option: str) -> int:
    """The port itself, or a free one in place of 0.

    Raises:
        MachineError: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            fix = "give another, or 0 for a free one"
            raise MachineError(f"{option} {port}: {error.strerror}; {fix}") from None
        return int(probe.getsockname()[1])


def _answers(made: Cluster, environment: Mapping[str, str]) -> bool:
    """Whether the job server answers in time."""
    token = environment.get("RAY_AUTH_TOKEN", "")
    if file := environment.get("RAY_AUTH_TOKEN_PATH"):
        token = token or Path(file).read_text().strip()
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            head = {"Authorization": f"Bearer {token}"} if token else {}
            if requests.get(f"{made.server}/api/jobs/", headers=head, timeout=5).ok:
                return True
        except requests.RequestException:
            pass
        time.sleep(0.5)
    return False


def _tail(file: Path) -> str:
    lines = [line.strip() for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])
