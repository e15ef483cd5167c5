"""The words of `scripts/cluster`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reverse_codi.processes import local_cluster
from reverse_codi.utils.command import run_verb


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser("scripts/cluster", description="A Ray head on this machine alone.")
    made.add_argument("what", choices=("start", "stop", "status"))
    made.add_argument("--folder", type=Path, default=local_cluster.default_folder(), help="where it lies")
    made.add_argument("--port", type=int, default=6379, help="of the head; 0 takes a free one")
    made.add_argument("--server-port", type=int, default=8265, help="of dashboard and job server; likewise")
    made.add_argument("--cpus", type=int, help="CPUs that Ray counts (default: all)")
    made.add_argument("--gpus", type=int, help="GPUs that Ray counts (default: all)")
    return made


def said(cluster: local_cluster.Cluster) -> str:
    """Where a cluster is."""
    return f"head: {cluster.address}, dashboard and job server: {cluster.server}"


def run(words: Sequence[str]) -> None:
    """Do what the words say.

    Raises:
        MachineError: see `local_cluster.start` and `local_cluster.stop`.
        SystemExit: with status 1 where `status` finds no cluster.
    """
    options = parser().parse_args(words)
    folder = options.folder.absolute()
    if options.what == "start":
        made = local_cluster.start(folder, options.port, options.server_port, options.cpus, options.gpus)
        print(f"# {said(made)}; logs in {folder}/session_latest/logs")
        print(made.exports())
        print("# ray job submit --working-dir . -- python -m reverse_codi.train recipes/tiny.yaml")
    elif options.what == "stop":
        print(f"{local_cluster.stop(folder)} processes ended")
    elif (found := local_cluster.running(folder)) is None:
        print(f"no cluster runs in {folder}")
        raise SystemExit(1)
    else:
        print(f"# {said(found)}; {len(local_cluster.processes(folder))} processes")
        print(found.exports())


if __name__ == "__main__":
    run_verb(lambda: run(sys.argv[1:]))
