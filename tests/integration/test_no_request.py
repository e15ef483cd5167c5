"""Nothing but what the user asks for leaves the machine: no telemetry, no look for an adapter's base."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
# Loads, samples from, trains and saves a verbalizer whose adapter names a base on the hub.
WORK = """
import ipaddress, json, socket, sys, time
from pathlib import Path

asked = []

def is_here(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in ("localhost", None, "")

def connect(self, address):
    if isinstance(address, tuple) and not is_here(address[0]):
        asked.append(str(address))
        raise OSError("no network in this test")
    return really(self, address)

def resolve(host, *args, **kwargs):
    if not is_here(host):
        asked.append(str(host))
        raise socket.gaierror("no network in this test")
    return resolved(host, *args, **kwargs)

really, resolved = socket.socket.connect, socket.getaddrinfo
socket.socket.connect, socket.getaddrinfo = connect, resolve

import reverse_codi
reverse_codi.Verbalizer  # as a user begins
import huggingface_hub
assert not huggingface_hub.constants.HF_HUB_OFFLINE
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.verbalize.greedy import greedy_engine
from reverse_codi.verbalize.policy import Policy
from tests.short_grpo import train

verbalizer, reasoner, out = map(Path, sys.argv[1:])
loaded = CodiReasoner.from_pretrained(reasoner)
greedy_engine(loaded, verbalizer)
policy = Policy.load(verbalizer, loaded, trainable=True)
assert policy.model.peft_config["default"].base_model_name_or_path == "someone/else"
train(loaded, out, policy=policy, steps=1, save_every=1)
policy.save(out / "saved")
time.sleep(1)  # telemetry is sent by a thread
print(json.dumps(asked))
"""


def test_an_adapter_of_another_base_and_a_trainer_ask_the_hub_for_nothing(
    tiny_verbalizer: Path, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    verbalizer = tmp_path / "verbalizer"
    verbalizer.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "verbalizer.json"):
        (verbalizer / name).write_bytes((tiny_verbalizer / name).read_bytes())
    config = json.loads((verbalizer / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "someone/else"
    (verbalizer / "adapter_config.json").write_text(json.dumps(config))
    left_out = {"HF_HUB_OFFLINE", "CI", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(verbalizer), str(tiny_folders[0]), str(tmp_path / "out")],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []
