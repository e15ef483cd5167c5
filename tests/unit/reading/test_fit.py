from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reverse_codi.reading.fit import fit_map
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.utils.config import UserError
from tests.tiny import make_encoded, make_tiny_traces

H0 = Site("h", 0)


def test_a_map_is_not_fitted_on_claims_that_are_not_sure(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    reader, encoded = Reader(tiny_reasoner, ReadSpec()), make_encoded(tiny_reasoner.n_thoughts)
    train = make_tiny_traces(tiny_reasoner, tmp_path, 40)
    wrong = [["1 + 1 = 2", *own[1:]] if row % 4 == 0 else own for row, own in enumerate(train.claims)]
    sure = [
        [row % 4 != 0, *[False] * (len(own) - 1)] for row, own in enumerate(wrong)
    ]  # h0 holds step 0 alone
    kept = [row for row in range(40) if row % 4]
    alone = fit_map(reader, H0, encoded, train.select(kept), [train.claims[row] for row in kept], 0)
    torch.testing.assert_close(fit_map(reader, H0, encoded, train, wrong, 0, sure).weight, alone.weight)
    assert not torch.allclose(fit_map(reader, H0, encoded, train, wrong, 0).weight, alone.weight, rtol=0.1)


def test_a_site_without_a_sure_claim_is_an_error(tiny_reasoner: CodiReasoner, tmp_path: Path) -> None:
    reader, encoded = Reader(tiny_reasoner, ReadSpec()), make_encoded(tiny_reasoner.n_thoughts)
    train = make_tiny_traces(tiny_reasoner, tmp_path, 8)
    with pytest.raises(UserError, match=r"no step that h0 holds is sure in any of 8 traces; raise trace\.n"):
        fit_map(reader, H0, encoded, train, train.claims, 0, [[False] * len(own) for own in train.claims])
