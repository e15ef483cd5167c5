from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.affine import RIDGES, AffineMap, trust, whitener

RNG = torch.Generator().manual_seed(0)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=RNG)


def test_a_known_map_is_recovered() -> None:
    weight, bias, x = noise(6, 4), noise(4), 3 * noise(500, 6) + 2
    fitted = AffineMap.fit(x, x @ weight + bias, ridge=1e-6)
    torch.testing.assert_close(fitted.weight, weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(fitted.bias, bias, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(fitted.mean, (x @ weight + bias).mean(0))


def test_ridge_shrinks_towards_the_mean() -> None:
    x = noise(500, 6)
    y = x @ noise(6, 4) + noise(4)
    loose, tight = AffineMap.fit(x, y, ridge=1e-6), AffineMap.fit(x, y, ridge=1e9)
    assert tight.weight.norm() < 1e-3 * loose.weight.norm()
    torch.testing.assert_close(tight.predict(x[:1]), y.mean(0)[None], atol=1e-3, rtol=1e-3)


def test_match_is_1_for_the_thought_itself_0_for_the_mean_below_for_worse() -> None:
    x = noise(200, 3)
    y = x @ noise(3, 4) + 0.1 * noise(200, 4)
    fitted = AffineMap.fit(x, y, ridge=1.0)
    torch.testing.assert_close(fitted.match(y, y), torch.ones(200))
    torch.testing.assert_close(fitted.match(y, fitted.mean.expand_as(y)), torch.zeros(200))
    assert (fitted.match(y, 2 * fitted.mean - y) < -2.9).all()  # the mirror image: 1 - 4


def test_whitened_residuals_have_unit_covariance() -> None:
    residual = (noise(20_000, 3) @ torch.diag(torch.tensor([10.0, 1.0, 0.3])) @ noise(3, 3)).double()
    white = residual @ whitener(residual, shrinkage=0.0).T
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(3, dtype=torch.double))
    # a direction that never varies must not count without bound
    flat = residual.clone()
    flat[:, 2] = 0
    assert whitener(flat).abs().max() < 100


def test_distance_is_the_mean_square_in_that_metric() -> None:
    zeros = torch.zeros(2)
    map_ = AffineMap(torch.eye(2), zeros, zeros, torch.diag(torch.tensor([2.0, 1.0])), torch.zeros(0, 2))
    assert map_.distance(torch.tensor([1.0, 3.0]), zeros).item() == (4 + 9) / 2


def test_trust_is_high_for_own_texts_and_low_for_random_ones() -> None:
    x = noise(600, 8)
    y = x @ noise(8, 8) + 0.1 * noise(600, 8)
    fitted = AffineMap.fit(x[:400], y[:400], ridge=1.0)
    own = trust(fitted, y[400:], fitted.predict(x[400:]))
    assert own.mean() > 0.99
    others = fitted.predict(x[400:].roll(1, 0))
    found = trust(fitted, y[400:], others)
    assert (found < 0.9).float().mean() > 0.9
    nearer = fitted.match(y[400:], others) > 0
    assert (found[~nearer] == 0).all() and (found[nearer] > 0.5).any()


def test_trust_is_the_share_of_wrong_thoughts_that_match_less_and_get_another_text() -> None:
    x = noise(600, 8)
    y = x @ noise(8, 8) + 0.1 * noise(600, 8)
    fitted = AffineMap.fit(x[:400], y[:400], ridge=1.0)
    thoughts, predicted = y[400:], fitted.predict(x[400:] + 0.5 * noise(200, 8))
    own = fitted.match(thoughts, predicted)
    wrong = fitted.match(fitted.reference[None], predicted[:, None])  # [N, R]
    less = (wrong < own[:, None]) & (own > 0)[:, None]
    torch.testing.assert_close(trust(fitted, thoughts, predicted), less.float().mean(1))
    shared = torch.rand(200, 50, generator=RNG) < 0.3
    wanted = (less[:, :50] & ~shared).float().mean(1)
    torch.testing.assert_close(trust(fitted, thoughts, predicted, shared), wanted)
    assert (trust(fitted, thoughts, predicted, torch.ones(200, 50, dtype=torch.bool)) == 0).all()


def test_identity_predicts_the_state_itself() -> None:
    x = noise(50, 4)
    fitted = AffineMap.identity(x, x + 1)
    assert torch.equal(fitted.predict(x), x)
    torch.testing.assert_close(fitted.mean, (x + 1).mean(0))


@pytest.mark.parametrize("features", [20, 60])
def test_the_smaller_system_gives_what_the_direct_solution_gives(features: int) -> None:
    x, y = noise(40, features), noise(40, 5)
    z = (x - x.mean(0)).double() / x.double().std(0)
    gram = z.T @ z + 1e-3 * 2.0 * 40 * torch.eye(features)
    wanted = torch.linalg.solve(gram, z.T @ (y - y.mean(0)).double()) / x.double().std(0)[:, None]
    fitted = AffineMap.fit(x, y, ridge=2.0)
    torch.testing.assert_close(fitted.weight, wanted.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fitted.predict(x.mean(0)), y.mean(0), rtol=1e-5, atol=1e-5)


def test_auto_takes_the_ridge_that_errs_least_on_rows_that_are_left_out() -> None:
    x = noise(60, 50)
    signal = x @ noise(50, 4)
    quiet, loud = signal + 0.01 * noise(60, 4), signal + 30 * noise(60, 4)
    for y, ridge in ((quiet, RIDGES[0]), (loud, RIDGES[-1])):
        torch.testing.assert_close(AffineMap.fit(x, y, "auto").weight, AffineMap.fit(x, y, ridge).weight)


def test_fitting_leaves_the_features_as_they_are() -> None:
    x = noise(30, 4).double()
    before = x.clone()
    AffineMap.fit(x, noise(30, 2), 0.1)
    assert torch.equal(x, before)
