"""Tokens of a user stay in the environment: no file of a run, and no line that it prints, has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tiny import make_sharp_reasoner

pytestmark = pytest.mark.long

TOKENS = {
    "HF_TOKEN": "hf_QmarkerQmarkerQmarkerQmarkerQmark",
    "HUGGING_FACE_HUB_TOKEN": "hf_RmarkerRmarkerRmarkerRmarkerRmark",
    "WANDB_API_KEY": "5ec4e75ec4e75ec4e75ec4e75ec4e75ec4e75ec4",
    "RAY_AUTH_TOKEN": "rayQmarkerQmarkerQmarkerQmarkerQmark",
}


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for Ray's own files; sockets there may not have long names."""
    folder = Path(tempfile.mkdtemp(prefix="rc"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(600)
def test_no_token_is_written_or_printed(tmp_path: Path, short: Path) -> None:
    make_sharp_reasoner().save_pretrained(tmp_path / "reasoner")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "log: {report_to: [wandb, tensorboard]}\n"
        f"reasoner: {{path: {tmp_path / 'reasoner'}}}\n"
        f"trace: {{out: {tmp_path / 'traces'}, n: 120, n_heldout: 30}}\n"
        "reading: {encoded_threshold: 0.01, fit_on: gold}\n"
        "verbalizer: {rank: 4, alpha: 8}\n"
        "warm_start: {kind: gold, steps: 10, batch_size: 16, eval_steps: 10}\n"
        "rollout: {cpus: 0.4, engine: {kind: transformers, max_model_len: 64}}\n"
        "reward: {cpus_per_actor: 0.4, functions: [{name: brevity}]}\n"
        "grpo: {steps: 1, thoughts_per_step: 4, samples: 2, max_new_tokens: 8, eval_thoughts: 8, "
        "save_every: 1}\n"
        f"train: {{out: {tmp_path / 'run'}}}\n"
    )
    environment = {
        **os.environ,
        **TOKENS,
        "WANDB_MODE": "offline",
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(short),
        "RAY_TMPDIR": str(short),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "reverse_codi.cli", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr[-3_000:]
        return done.stdout + done.stderr

    printed = run("train", str(recipe))
    printed += run("report", str(tmp_path / "run"), "--out", str(tmp_path / "page.html"), "--traces", "2")
    printed += run(
        "push",
        str(tmp_path / "run"),
        "me/it",
        "--reasoner",
        "me/reasoner",
        "--dry-run",
        str(tmp_path / "card"),
    )
    files = [file for root in (tmp_path, short) for file in root.rglob("*") if file.is_file()]
    names = {file.name for file in files}
    assert {"recipe.yaml", "metrics.jsonl", "README.md", "page.html", "adapter_config.json"} <= names
    assert any(name.endswith(".wandb") for name in names) and any("tfevents" in name for name in names)
    for kind, token in TOKENS.items():
        assert token not in printed, kind
        holding = [file for file in files if token.encode() in file.read_bytes()]
        assert holding == [], kind
