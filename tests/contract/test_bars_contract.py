"""Which environment keeps libraries' bars away (`utils.libraries`); they are looked at in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from reverse_codi.utils.libraries import NO_BARS

WORK = """
import sys
from transformers import GPT2Config, GPT2LMHeadModel

folder = sys.argv[1]
GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2)).save_pretrained(folder)
GPT2LMHeadModel.from_pretrained(folder)

from datasets import Dataset

Dataset.from_dict({"n": [1, 2, 3]}).map(lambda row: {"m": row["n"] + 1})

from tqdm.auto import tqdm

for _ in tqdm(range(3), desc="of another library"):
    pass
"""
BARS = ("Loading weights", "Map", "of another library")


def printed(folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in NO_BARS}
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(folder)],
        env=environment | variables,
        capture_output=True,  # as bytes: text would have a line break for each carriage return
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).decode()


def test_libraries_show_bars_also_where_there_is_no_terminal(tmp_path: Path) -> None:
    shown = printed(tmp_path)
    assert all(bar in shown for bar in BARS) and "\r" in shown


def test_the_environment_keeps_them_away(tmp_path: Path) -> None:
    shown = printed(tmp_path, **NO_BARS)
    assert not any(bar in shown for bar in BARS) and "\r" not in shown and "%|" not in shown
