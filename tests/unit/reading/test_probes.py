from __future__ import annotations

import torch

from reverse_codi.reading.probes import Probe, part_labels, parts_of, probe_steps
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
