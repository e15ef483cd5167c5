from __future__ import annotations

import subprocess
import sys

import pytest

from reverse_codi.processes.memory import machine, peak, restart_peak

# In a process of its own: other tests' peaks do not count.
ALLOCATE = """
from reverse_codi.processes.memory import peak, restart_peak
before = peak().host
held = bytearray(256 << 20)
print(peak().host - before)
del held
restart_peak()
print(peak().host - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process restart its peak")
def test_a_peak_is_what_was_taken_since_it_was_restarted() -> None:
    run = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    taken, left = map(float, run.stdout.split())
    assert taken == pytest.approx(0.25, abs=0.01)
    assert left < 0.02


def test_a_process_takes_less_than_the_machine_has() -> None:
    restart_peak()
    has = machine()
    assert has is not None
    assert 0 < peak().host < has
    assert peak().gpu == 0
