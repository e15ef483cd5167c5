"""What the card of a merged verbalizer promises of vLLM's OpenAI server, run as it stands there."""

from __future__ import annotations

import importlib.util
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import torch

from reverse_codi.verbalize.publishing.merged import export_merged
from reverse_codi.verbalize.verbalizer import Verbalizer
from tests.tiny import make_problems

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

SMALL = "--dtype float32 --max-model-len 64 --max-num-seqs 4 --enforce-eager"
QUESTION = make_problems(1)[0].question


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(800):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-3000:])


def test_the_lines_of_the_card_serve_a_merged_verbalizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbalizer = Verbalizer.from_pretrained("embedded")
    card = (export_merged(verbalizer, tmp_path / "merged") / "README.md").read_text()
    [command] = [line for line in card.splitlines() if line.startswith("python -m vllm")]
    plain, request = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    port = free_port()
    log = tmp_path / "server.log"
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, *shlex.split(f"{command} {SMALL} --host 127.0.0.1 --port {port}")[1:]],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        wait_for(f"http://127.0.0.1:{port}", server, log)
        monkeypatch.chdir(tmp_path)
        thoughts = verbalizer.reasoner.think([QUESTION]).latent_inputs[0]
        for thought, row in zip(thoughts, verbalizer.translate(QUESTION), strict=True):
            torch.save(thought[None], "thoughts.pt")
            names: dict[str, Any] = {}
            exec(compile(plain, "card", "exec"), names)
            exec(compile(request.replace("localhost:8000", f"127.0.0.1:{port}"), "card", "exec"), names)
            assert names["answer"].json()["choices"][0]["text"] == row.text
    finally:
        server.terminate()
        server.wait(timeout=60)
