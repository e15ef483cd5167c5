from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from reverse_codi.training.served import other_policy, share

T = 64
RNG = np.random.default_rng(0)
OURS = RNG.normal(-2, 1, T).astype(np.float32)
BASE = OURS + RNG.normal(0, 0.5, T).astype(np.float32)


def noisy(row: NDArray[np.float32], size: float, seed: int = 1) -> NDArray[np.float32]:
    return row + np.random.default_rng(seed).normal(0, size, T).astype(np.float32)


def test_a_step_of_a_thousandth_of_a_nat_is_missed_where_the_noise_allows_it() -> None:
    before = noisy(OURS, 1e-3, seed=2)
    assert share(noisy(OURS, 1e-5), OURS, before) == 0
    assert share(noisy(before, 1e-5), OURS, before) == pytest.approx(1, abs=0.01)
    wrong = other_policy(noisy(before, 1e-5), OURS, BASE, {6: before})
    assert wrong == "100% of the change since policy 6 is missing: it serves an old one"


def test_noise_larger_than_the_change_accuses_nobody() -> None:
    before = noisy(OURS, 1e-3, seed=2)
    found = [
        share(noisy(engine, 0.1, seed), OURS, before) for engine in (OURS, before) for seed in range(10, 510)
    ]
    assert found == [0] * 1000


def test_a_policy_without_change_or_a_short_probe_accuses_nobody() -> None:
    assert share(noisy(OURS, 1e-5), OURS, OURS) == 0
    assert share(BASE[:4], OURS[:4], BASE[:4]) == 0


@pytest.mark.parametrize(
    ("applied", "words"),
    [
        (0.0, "it serves the model without the adapter"),
        (0.5, "it applies 50% of the adapter: another scale (lora_alpha, r), or loaded more than once"),
        (2.0, "it applies 200% of the adapter: another scale (lora_alpha, r), or loaded more than once"),
        (1.0, ""),
        (0.9, ""),
    ],
)
def test_the_part_of_the_adapter_that_is_applied(applied: float, words: str) -> None:
    assert other_policy(noisy(BASE + applied * (OURS - BASE), 1e-4), OURS, BASE, {}) == words
