from __future__ import annotations

import pytest
import torch

from reverse_codi.reasoners.sites import Site
from reward.brevity import WORST, Brevity, brevity
from tests.tiny import make_batch, make_rows, make_table_metric


def test_zero_within_the_budget_then_a_line_then_worst() -> None:
    lengths = [1, 4, 5, 6, 8, 100]
    site = Site("h", 0)
    rows = make_rows(["t"] * 6, torch.zeros(6, 2), site, token_ids=[[0] * n for n in lengths])
    batch = make_batch(rows, make_table_metric({"t": [0.0, 0.0]}, site))
    values = brevity(batch, Brevity(budget=4, span=4))
    assert values == pytest.approx([0.0, 0.0, -0.25, -0.5, WORST, WORST])
