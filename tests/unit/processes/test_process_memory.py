"""Peaks of a process and of those that it starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reverse_codi.processes.process_memory import Peaks, ProcessPeak, watched

# Takes 300 MiB, starts a child that takes 100 MiB, says when both have it, and waits to be told to go on.
TAKE = (
    "b = bytearray(MIB << 20)\nfor i in range(0, len(b), 4096): b[i] = 1\nprint('there', flush=True)\ninput()"
)
PARENT = """
import subprocess, sys
block = bytearray(300 << 20)
for i in range(0, len(block), 4096): block[i] = 1
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], **pipes)
child.stdout.readline()
print("ready", flush=True)
input()
child.communicate("\\n")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_both_processes_and_their_sum_are_seen() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, TAKE.replace("MIB", "100")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        with watched(process.pid, interval_s=0.02) as taken:
            process.stdout.readline()
            taken()
            found = Peaks()
            while len(found.processes) < 2:
                found = taken()
            process.stdin.write("\n")
            process.stdin.close()
            process.wait()
    parent, child = sorted(found.processes.values(), key=lambda peak: -peak.resident)
    assert parent.resident == pytest.approx(0.30, abs=0.03)
    assert child.resident == pytest.approx(0.11, abs=0.02)
    assert found.total == pytest.approx(0.40, abs=0.04)
    assert found.total <= parent.resident + child.resident  # pages that both have count once


def test_small_processes_are_shown_together() -> None:
    peaks = Peaks(
        {1: ProcessPeak("a", 0.01, 0.01), 2: ProcessPeak("b", 3.0, 2.0), 3: ProcessPeak("c", 0.02, 0)}
    )
    assert [(peak.name, round(peak.resident, 2)) for peak in peaks.by_name()] == [
        ("b", 3.0),
        ("2 others", 0.03),
    ]
