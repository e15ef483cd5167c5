"""Ray as a run starts it, in a process of its own: no socket listens but on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.clusters import ROOT

pytestmark = pytest.mark.long

SCRIPT = """
import json
import psutil
import ray
from reverse_codi.training.runtime import start_ray
from tests.clusters import listening

start_ray()
assert ray.get(ray.remote(lambda: 1).remote()) == 1
everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]
print(json.dumps({"at": sorted(listening(everyone)), "names": sorted({p.name() for p in everyone})}))
ray.shutdown()
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_nothing_listens_elsewhere(found: dict[str, Any]) -> None:
    assert {"gcs_server", "raylet"} <= set(found["names"])
    assert found["at"] and set(found["at"]) <= {"127.0.0.1", "::1"}
