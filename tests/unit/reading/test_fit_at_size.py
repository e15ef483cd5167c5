from __future__ import annotations

import time

import pytest
import torch

from reverse_codi.processes.memory import peak, restart_peak
from reverse_codi.reading.affine import AffineMap

TRACES, DIRECTIONS, WIDTH = 7_000, 6_120, 2_048


@pytest.mark.slow
@pytest.mark.parametrize("ridge", [0.1, "auto"])
def test_a_site_of_llama_1b_is_fitted_in_a_minute_on_two_quiet_cores(ridge: float) -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(TRACES, DIRECTIONS, generator=rng)
    thoughts = features[:, :WIDTH] + torch.randn(TRACES, WIDTH, generator=rng)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    restart_peak()
    before, began = peak().host, time.perf_counter()
    found = AffineMap.fit(features, thoughts, ridge, standardized=True)
    seconds, gib = time.perf_counter() - began, peak().host - before
    torch.set_num_threads(threads)
    print(f"\nridge {ridge}: {seconds:.0f} s, {gib:.2f} GiB")
    assert float(found.match(thoughts[:64], found.predict(features[:64])).mean()) > 0.5
    assert gib < 4
    assert seconds < 60
