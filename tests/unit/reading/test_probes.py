from __future__ import annotations

import pytest
import torch

from reverse_codi.reading.codes import number_code
from reverse_codi.reading.probes import (
    Probe,
    ReadOut,
    above_guessing,
    part_labels,
    parts_of,
    probe_steps,
    read_out,
)
from reverse_codi.reasoners.sites import Site


def separable(n: int = 800) -> tuple[torch.Tensor, list[str]]:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (n,), generator=rng)
    # badly scaled on purpose: probes standardize
    vectors = (3 * torch.eye(5)[labels] + 0.2 * torch.randn(n, 5, generator=rng)) * 100 + 1000
    return vectors, [str(label) for label in labels.tolist()]


def test_separable_data_is_read_wholly() -> None:
    vectors, labels = separable()
    assert Probe.fit(vectors[:600], labels[:600]).accuracy(vectors[600:], labels[600:]) == 1.0


def test_shuffled_labels_are_at_chance() -> None:
    vectors, labels = separable()
    shuffled = [labels[i] for i in torch.randperm(800, generator=torch.Generator().manual_seed(1)).tolist()]
    assert Probe.fit(vectors[:600], shuffled[:600]).accuracy(vectors[600:], shuffled[600:]) < 0.3


def test_steps_are_probed_one_by_one() -> None:
    vectors, labels = separable()
    site = Site("z", 1)
    claims = [[f"1 + 1 = {label}", f"1 + 1 = {i * 7 % 3}"] for i, label in enumerate(labels)]
    table = probe_steps({site: vectors[:600]}, claims[:600], {site: vectors[600:]}, claims[600:])
    first, second = table[site]
    assert first == 1.0
    assert second < 0.55


def test_parts_of_a_claim() -> None:
    assert list(parts_of("12 + 5 - 3 = 14")) == ["12", "+ -", "3", "14"]
    assert set(parts_of("wumpuses are rompuses")[:3]) == {"wumpuses are rompuses"}
    assert parts_of("= 17") == ("", "", "", "17")


def test_parts_of_a_sentence() -> None:
    assert parts_of("Every wumpus is a tumpus") == ("wumpus", "tumpus")


def test_labels_of_slots() -> None:
    assert part_labels(["1 + 2 = 3", "4 * 5 = 20"]) == [["1", "4"], ["+", "*"], ["2", "5"], ["3", "20"]]
    assert part_labels(["Tom is a wumpus", "Every wumpus is a tumpus"]) == [
        ["Tom", "wumpus"],
        ["wumpus", "tumpus"],
    ]
    mixed = part_labels(["1 + 2 = 3", "Tom is a wumpus"])
    assert mixed == [["1", "Tom"], ["+", "wumpus"], ["2", ""], ["3", ""]]


def planted(labels: list[str], width: int, noise: float, seed: int = 0) -> torch.Tensor:
    """Vectors that hold each number as a vector of its own, as token embeddings do."""
    generator = torch.Generator().manual_seed(seed)
    names = sorted(set(labels))
    vectors = torch.randn(len(names), width, generator=generator)
    held = vectors[[names.index(label) for label in labels]]
    return held + noise * torch.randn(held.shape, generator=generator)


def drawn(n: int, largest: int = 900) -> list[str]:
    """Numbers of which most occur once or twice, as GSM8K's do."""
    generator = torch.Generator().manual_seed(1)
    return [str(number) for number in (torch.rand(n, generator=generator) ** 3 * largest).long().tolist()]


def share(read: ReadOut) -> float:
    return float(read.right.float().mean())


def test_numbers_held_by_digits_and_size_are_read_from_few_traces() -> None:
    labels = drawn(800)
    code = torch.stack([number_code(label) for label in labels])
    generator = torch.Generator().manual_seed(0)
    vectors = code @ torch.randn(code.shape[1], 128, generator=generator)
    vectors = vectors + 2 * torch.randn(vectors.shape, generator=generator)
    [read] = read_out(vectors, [labels])
    alone = Probe.fit(vectors[:640], labels[:640]).accuracy(vectors[640:], labels[640:])
    assert share(read) > alone + 0.1 and len(read.rows) == 800


def test_numbers_that_are_random_vectors_are_read_one_by_one() -> None:
    labels = drawn(1_500)
    vectors = planted(labels, 128, 1.0)
    [read] = read_out(vectors, [labels])
    seen = set(labels[:1_200])
    assert share(read) > 0.9 * sum(label in seen for label in labels[1_200:]) / 300
    assert len(read.rows) == 300


@pytest.mark.parametrize("n", [200, 360, 1_500])
def test_nothing_is_read_off_noise(n: int) -> None:
    """Nor where traces are fewer than the entries of a code, or than the width."""
    labels = drawn(n)
    [read] = read_out(torch.randn(n, 256, generator=torch.Generator().manual_seed(0)), [labels])
    assert above_guessing(read.right, [labels[row] for row in read.rows.tolist()]) < 0.05


def test_what_guessing_gets_does_not_count() -> None:
    labels = ["+"] * 60 + ["*"] * 40
    assert above_guessing(torch.tensor([True] * 60 + [False] * 40), labels) == 0
    assert above_guessing(torch.ones(100, dtype=torch.bool), labels) == 1
    assert above_guessing(torch.tensor([True] * 80 + [False] * 20), labels) == pytest.approx(0.5)
    assert above_guessing(torch.ones(3, dtype=torch.bool), ["+"] * 3) == 1
