from __future__ import annotations

import doctest
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reverse_codi.reading import claims as module
from reverse_codi.reading.claims import EncodedSteps, claimed, claims_text, find_encoded_steps
from reverse_codi.reasoners.sites import Site
from reverse_codi.storage.files import NotJsonError

H0, H1 = Site("h", 0), Site("h", 1)
CLAIMS = ["12 + 5 = 17", "17 * 2 = 34"]
ENCODED = EncodedSteps({(H0, 2): [0.1, 0.2], (H1, 2): [0.9, 0.5], (H1, 1): [0.75]}, 0.5)


def test_claims_text() -> None:
    assert claims_text(CLAIMS) == "12 + 5 = 17. 17 * 2 = 34."
    assert claims_text([]) == "(no step)"


def test_a_site_says_the_steps_from_the_threshold_on() -> None:
    assert ENCODED.steps(H1, 2) == [0, 1]
    assert ENCODED.text(H1, CLAIMS) == "12 + 5 = 17. 17 * 2 = 34."
    assert ENCODED.text(H0, CLAIMS) == "(no step)"
    assert ENCODED.steps(H1, 4) == []  # a length that was never probed


def test_json_round_trip() -> None:
    assert EncodedSteps.from_json(ENCODED.to_json()) == ENCODED
    swapped = replace(ENCODED, moved={(H1, 2): 0.25, (H0, 2): 0.0})
    assert EncodedSteps.from_json(swapped.to_json()) == swapped
    assert (
        EncodedSteps.from_json('{"threshold": 0.5, "accuracy": {}}').moved == {}
    )  # of before there were swaps


def test_where_thoughts_were_swapped_only_active_ones_encode_steps_and_weak_probes_suffice() -> None:
    weak = {(H0, 3): [0.33, 0.05, 0.1], (H1, 3): [0.32, 0.7, 0.4], (H1, 2): [0.9, 0.1]}
    encoded = EncodedSteps(weak, 0.6, {(H0, 3): 0.4, (H1, 3): 1.0, (H1, 2): 0.02})
    assert encoded.steps(H0, 3) == [0]
    assert encoded.steps(H1, 3) == [1, 2]  # half as well read as the best one
    assert encoded.steps(H1, 2) == []  # the result is handed on, and nobody looks
    assert EncodedSteps(weak, 0.6).steps(H1, 2) == [0] and EncodedSteps(weak, 0.6).steps(H0, 3) == []
    assert (
        EncodedSteps({(H0, 1): [0.29]}, 0.6, {(H0, 1): 1.0}).steps(H0, 1) == []
    )  # causally active, and nothing is read there
    assert EncodedSteps({(H0, 1): [0.29]}, 0.2, {(H0, 1): 1.0}).steps(H0, 1) == [0]


def test_find_encoded_steps_finds_the_step_that_a_site_encodes() -> None:
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randint(4, (600, 4), generator=rng)
    claims = [[f"{a} + 1 = {a}", f"{b} - {c} = {d}"] for a, b, c, d in numbers.tolist()]

    def holding(*columns: int) -> torch.Tensor:
        encoded = torch.cat([4 * torch.eye(4)[numbers[:, column]] for column in columns], 1)
        return encoded + torch.randn(encoded.shape, generator=rng) / 9

    h2 = Site("h", 2)
    vectors = {H0: torch.randn(600, 4, generator=rng), H1: holding(1, 2, 3), h2: holding(3)}
    encoded = find_encoded_steps(vectors, claims)
    assert encoded.steps(H1, 2) == [1]
    assert encoded.steps(H0, 2) == []
    assert encoded.steps(h2, 2) == []  # a result alone is not the step
    assert (encoded.results(h2, 2), encoded.results(H1, 2), encoded.results(H0, 2)) == ([1], [], [])
    assert encoded.text(h2, ["2 + 1 = 2", "3 - 1 = 0"]) == "= 0."
    assert encoded.holds(h2, 2) and encoded.holds(H1, 2) and not encoded.holds(H0, 2)
    assert EncodedSteps.from_json(encoded.to_json()).results(h2, 2) == [1]
    assert encoded.accuracy[H1, 2][1] > 0.9


def test_probes_learn_from_all_lengths_and_are_scored_apart() -> None:
    rng = torch.Generator().manual_seed(0)
    numbers = torch.randint(4, (600, 4), generator=rng)
    long = [i % 3 > 0 for i in range(600)]
    claims = [
        [f"{a} + {b} = {c}"] + [f"{c} - 1 = {d}"] * long[i] for i, (a, b, c, d) in enumerate(numbers.tolist())
    ]
    holds = torch.cat([4 * torch.eye(4)[numbers[:, column]] for column in range(3)], 1)
    holds[~torch.tensor(long)] = 0  # a thought that lets go of its step where no other follows
    encoded = find_encoded_steps({H0: holds + torch.randn(holds.shape, generator=rng) / 9}, claims)
    assert encoded.steps(H0, 2) == [0]
    assert encoded.steps(H0, 1) == []
    assert encoded.accuracy[H0, 2][0] > 0.9 and encoded.accuracy[H0, 1][0] < 0.5


def test_what_a_text_claims_in_order() -> None:
    assert doctest.testmod(module).failed == 0
    assert claimed("5 * 2 = 10. 10 - 5 = 5. 5*2=10") == ("5 * 2 = 10", "10 - 5 = 5", "5 * 2 = 10")
    assert claimed("Tom is an ox. Every ox is a gnu.") == ("Tom is a ox", "Every ox is a gnu")
    for silent in ("(no step)", "( no step )", " (No step).\n"):
        assert claimed(silent) == ()
    assert claimed("= 17.") == ("= 17",) != claimed("12 + 5 = 17.")
    assert claimed("12 + 5 = 17. = 34.") == ("12 + 5 = 17", "= 34")
    assert claimed("12 + 5 = 17 = 34") == ("12 + 5 = 17",)
    assert claimed("x = 17") is None and claimed("so = 17") is None
    for garbled in ("(no no)", "step no step)", "no step 5", "28 no)))", "", "Tom is is a", "17."):
        assert claimed(garbled) is None


def test_an_accuracy_that_is_no_number_is_not_written() -> None:
    with pytest.raises(NotJsonError, match=r"accuracy\.h1/2\.0 = nan"):
        EncodedSteps({(Site("h", 1), 2): [float("nan"), 0.5]}, 0.5).to_json()


def test_a_file_of_its_former_name_is_named_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "held_steps.json").write_text(EncodedSteps({}, 0.5).to_json())
    with pytest.raises(FileNotFoundError, match=r"encoded_steps\.json is missing; rename .*held_steps\.json"):
        EncodedSteps.load(tmp_path)
    (tmp_path / "held_steps.json").rename(tmp_path / "encoded_steps.json")
    assert EncodedSteps.load(tmp_path).threshold == 0.5
    with pytest.raises(
        FileNotFoundError, match=r"encoded_steps\.json is missing; train the verbalizer first"
    ):
        EncodedSteps.load(tmp_path / "nowhere")


def test_a_step_that_one_trace_alone_has_is_read_by_no_probe() -> None:
    claims = [["1 + 2 = 3"]] * 20 + [["1 + 2 = 3", "3 * 2 = 6"]]
    vectors = {Site("h", 0): torch.randn(21, 8, generator=torch.Generator().manual_seed(0))}
    found = find_encoded_steps(vectors, claims)
    assert found.accuracy[Site("h", 0), 2][1] == 0
    assert len(found.accuracy[Site("h", 0), 1]) == 1 and len(found.accuracy[Site("h", 0), 2]) == 2
