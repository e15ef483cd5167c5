"""A local head with its job server, as `scripts/cluster` starts it, for tests."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from reverse_codi.processes.local_cluster import STATE, Cluster, processes

ROOT = Path(__file__).parents[1]
RAY = str(Path(sys.executable).parent / "ray")


@dataclass(frozen=True)
class Head:
    """A running head.

    Attributes:
        folder: where it lies.
        environment: of a shell that uses it.
        cluster: where it listens.
    """

    folder: Path
    environment: Mapping[str, str]
    cluster: Cluster

    def submit(
        self,
        directory: Path,
        *command: str,
        runtime_env: Mapping[str, object] | None = None,
        name: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """`ray job submit --working-dir DIRECTORY -- COMMAND`; its standard output has the job's log.

        A job that is given a name is not waited for.
        """
        words = [RAY, "job", "submit", "--working-dir", str(directory)]
        if runtime_env is not None:
            words += ["--runtime-env-json", json.dumps(runtime_env)]
        return self.run(*words, *(("--no-wait", "--submission-id", name) if name else ()), "--", *command)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as this head's user."""
        return subprocess.run(words, env=dict(self.environment), capture_output=True, text=True, timeout=400)

    def processes(self) -> list[psutil.Process]:
        """All processes of the head and of its jobs."""
        return processes(self.folder)


def command(*words: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`scripts/cluster WORDS`."""
    script = [str(ROOT / "scripts/cluster"), *words]
    return subprocess.run(script, env=dict(environment), capture_output=True, text=True, timeout=200)


@contextmanager
def head(home: Path) -> Iterator[Head]:
    """Start a head of 2 CPUs on free ports, for a user with this home; it is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
    named = ("HOME", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_TMPDIR")
    environment = {name: value for name, value in os.environ.items() if name not in named}
    environment |= {"HOME": str(home), "PYTHON_RUN": sys.executable, "PYTHONPATH": str(ROOT)}
    environment |= {"HF_HUB_OFFLINE": "1"}
    where = ("--folder", str(folder))
    try:
        options = ("--port", "0", "--server-port", "0", "--cpus", "2")
        started = command("start", *where, *options, environment=environment)
        assert started.returncode == 0, started.stderr
        line = next(line for line in started.stdout.splitlines() if line.startswith("export "))
        exported = dict(word.split("=", 1) for word in shlex.split(line)[1:])
        cluster = Cluster(**json.loads((folder / STATE).read_text()))
        yield Head(folder, environment | exported, cluster)
    finally:
        stopped = command("stop", *where, environment=environment)
        left = processes(folder)
        shutil.rmtree(folder, ignore_errors=True)
        assert stopped.returncode == 0, stopped.stderr
        assert left == []


def listening(some: list[psutil.Process]) -> set[str]:
    """The addresses at which processes listen."""
    found = set()
    for process in some:
        try:
            connections = process.net_connections("tcp")
        except psutil.Error:  # it ended meanwhile
            continue
        heard = [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN]
        found |= {ip.removeprefix("::ffff:") for ip in heard}  # IPv4 on a socket of IPv6
    return found
