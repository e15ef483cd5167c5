"""A Trainer's steps on a verb's terminal, and as lines; its own bar and dictionaries are gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from reverse_codi.trainers.progress import steps_shown
from reverse_codi.utils.log import show_log
from tests.fakes import printed, screen


class Line(nn.Module):
    """y = wx."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.w * x - y).square().mean()}


def trainer(out: Path, steps: int, tqdm: bool) -> Trainer:
    rows = [{"x": torch.ones(1), "y": torch.full((1,), 2.0)}] * 8
    arguments = TrainingArguments(
        str(out), max_steps=steps, logging_steps=2, use_cpu=True, report_to="none", disable_tqdm=not tqdm,
        per_device_train_batch_size=4, save_steps=2, dataloader_pin_memory=False,
    )  # fmt: skip
    return Trainer(Line(), arguments, train_dataset=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("tqdm", [False, True])
def test_losses_are_lines_of_the_log_and_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tqdm: bool
) -> None:
    console = show_log(screen())
    made = trainer(tmp_path, 4, tqdm)
    with steps_shown(made, "warm start"):
        made.train()
    first, last = printed(console).splitlines()
    assert first.startswith("warm start, step 2: loss ") and last.startswith("warm start, step 4: loss ")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_a_bar_that_begins_where_a_resumed_run_does(tmp_path: Path) -> None:
    made = trainer(tmp_path, 4, tqdm=False)
    with steps_shown(made, "warm start", losses=False):
        made.train()
    console = show_log(screen(terminal=True))
    again = trainer(tmp_path, 6, tqdm=False)
    with steps_shown(again, "GRPO", losses=False):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    shown = printed(console)
    assert (
        "GRPO" in shown and "4/6" in shown and "6/6" in shown and "0/6" not in shown and "loss" not in shown
    )
