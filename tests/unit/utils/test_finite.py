from __future__ import annotations

import pytest
import torch

from reverse_codi.utils.finite import NotFiniteError, check_loss, non_finite

NAN = float("nan")


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_the_first_tensor_with_a_value_that_is_no_number_is_named(bad: float) -> None:
    tensors = {"a": torch.ones(3), "b": torch.tensor([1.0, bad]), "c": torch.tensor([NAN])}
    assert non_finite(tensors.items()) == "b"


def test_large_values_are_finite_though_their_norm_overflows() -> None:
    assert non_finite([("a", torch.full((4,), 1e30))]) is None
    assert non_finite([("a", torch.full((4,), 6e4, dtype=torch.float16))]) is None
    assert non_finite([("a", torch.empty(0, 3))]) is None
    assert non_finite([]) is None


def test_a_loss_names_its_step_and_the_key() -> None:
    check_loss(torch.tensor(0.5), 3, "distill.recall.learning_rate", 1.0)
    with pytest.raises(NotFiniteError, match=r"loss of step 3 is nan; lower x\.learning_rate \(now 0\.1\)"):
        check_loss(torch.tensor(NAN), 3, "x.learning_rate", 0.1)
