from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.rewards import batch_guard
from reverse_codi.rewards.batch import RewardBatch, RewardError
from reverse_codi.rewards.batch_guard import TESTED, BatchGuard
from reverse_codi.rewards.calls import run_rewards
from reverse_codi.rewards.declare import RewardSpec
from reverse_codi.rewards.registry import find, names
from reverse_codi.rewards.scoring import LocalScorer
from reverse_codi.utils.user_code import innermost
from tests.tiny import make_batch, make_rows, make_table_metric

SITE = Site("h", 1)
TEXTS = ["one", "two words", "three", "four"]


def shared(**others: Any) -> RewardBatch:
    rows = make_rows(TEXTS, torch.arange(8.0).view(4, 2) + 1, SITE, claims=[["1 + 1 = 2"]] * 4, **others)
    batch = make_batch(rows, make_table_metric({"one": [1.0, 0.5]}, SITE, default=[0.5, 1.0]))
    return replace(batch, layers={3: torch.ones(4, 1, 2)})


def writing(write: Callable[[RewardBatch], Any], name: str = "writes", slow: bool = False) -> RewardSpec:
    def function(batch: RewardBatch) -> list[float]:
        write(batch)
        return [0.0] * len(batch)

    return RewardSpec(name, function, -1.0, slow=slow)


def reading(name: str, slow: bool = False) -> RewardSpec:
    """Sums up everything that it sees."""

    def function(batch: RewardBatch) -> list[float]:
        lists = len(
            str((batch.texts, batch.token_ids, batch.sites, batch.claims, batch.step, batch.thoughts))
        )
        tensors = (batch.states, batch.predicted, batch.targets, batch.distractors, batch.layers[3])
        return [lists + float(sum(tensor.sum() for tensor in tensors))] * len(batch)

    return RewardSpec(name, function, -1.0, slow=slow)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    "write",
    [
        lambda batch: batch.texts.reverse(),
        lambda batch: batch.texts.__setitem__(0, "other"),
        lambda batch: batch.token_ids[0].clear(),
        lambda batch: batch.claims[1].append("x"),
        lambda batch: batch.questions.sort(reverse=True),
        lambda batch: batch.sites.clear(),
        lambda batch: batch.thoughts.clear(),
        lambda batch: batch.step.texts.clear(),
        lambda batch: batch.step.thoughts.pop(),
        lambda batch: batch.layers.clear(),
        lambda batch: batch.targets.requires_grad_(),
    ],
)
def test_lists_are_each_functions_own(write: Callable[[RewardBatch], Any], slow: bool) -> None:
    [expected] = set(run_rewards([reading("reads")], shared())["reads"])
    given = shared()
    scores = run_rewards([writing(write, slow=slow), reading("reads"), reading("last", slow=True)], given)
    assert scores["reads"] == scores["last"] == [expected] * 4
    assert given.texts == TEXTS and not given.targets.requires_grad


TENSORS: list[tuple[str, Callable[[RewardBatch], torch.Tensor]]] = [
    ("targets", lambda batch: batch.targets),
    ("predicted", lambda batch: batch.predicted),
    ("states", lambda batch: batch.states),
    ("distractors", lambda batch: batch.distractors),
    (r"layers\[3\]", lambda batch: batch.layers[3]),
]


@pytest.mark.parametrize(("name", "of"), TENSORS)
@pytest.mark.parametrize(
    ("counted", "write"),
    [
        (True, lambda tensor: tensor.mul_(2)),
        (True, lambda tensor: tensor[0].zero_()),
        (True, lambda tensor: tensor.flatten()[:2].add_(1)),
        (False, lambda tensor: tensor.numpy().__imul__(2)),
        (False, lambda tensor: tensor.data.mul_(2)),
        (False, lambda tensor: tensor.numpy().__setitem__(slice(None), tensor.numpy()[::-1].copy() + 1)),
    ],
)
@pytest.mark.parametrize("slow", [False, True])
def test_who_writes_into_a_shared_tensor_is_named(
    name: str,
    of: Callable[[RewardBatch], torch.Tensor],
    counted: bool,
    write: Callable[[torch.Tensor], Any],
    slow: bool,
) -> None:
    wrote = threading.Event()
    culprit = writing(lambda batch: (write(of(batch)), wrote.set()), slow=slow)
    before = writing(lambda batch: not slow or wrote.wait(20), "before")
    who = "writes" if counted or not slow else "before or writes"  # it may have written while the other ran
    message = (
        rf"reward '{who}': wrote into batch\.{name}, which all rewards share; write into a copy: \.clone"
    )
    given = shared(distractors=torch.ones(4, 3, 2))
    with pytest.raises(RewardError, match=message):
        run_rewards([before, culprit, reading("after")], given)


def test_rows_that_change_places_are_seen() -> None:
    def exchanges(batch: RewardBatch) -> None:
        array = batch.targets.numpy()
        array[[0, 1]] = array[[1, 0]]

    with pytest.raises(RewardError, match=r"'writes': wrote into batch\.targets"):
        run_rewards([writing(exchanges)], shared())


def test_of_those_that_run_beside_each_other_a_counted_write_names_the_one() -> None:
    wrote = threading.Event()
    waits = writing(lambda batch: wrote.wait(20), "waits", slow=True)
    writes = writing(lambda batch: (batch.targets.zero_(), wrote.set()), "writes", slow=True)
    with pytest.raises(RewardError, match=r"reward 'writes': wrote into batch\.targets"):
        run_rewards([waits, writes], shared())
    wrote.clear()
    writes = writing(lambda batch: (batch.targets.numpy().fill(0), wrote.set()), "writes", slow=True)
    with pytest.raises(RewardError, match=r"reward 'waits or writes': wrote into batch\.targets"):
        run_rewards([waits, writes], shared())


def test_who_writes_into_a_map_is_named() -> None:
    batch = shared()
    fitted = AffineMap.fit(torch.randn(20, 3), torch.randn(20, 2), 0.1)
    given = replace(batch, metric=ThoughtMetric(batch.metric.reader, {SITE: fitted}))
    centred = writing(lambda batch: batch.metric.map_of(SITE).mean.sub_(1.0))
    with pytest.raises(RewardError, match=r"'writes': wrote into batch\.metric's map h1\.mean"):
        run_rewards([reading("reads"), centred], given)


def test_the_logged_match_is_taken_before_any_function_runs(
    tiny_metric: ThoughtMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = make_rows(["12 + 5 = 17.", "9 - 8 = 1."], torch.randn(2, 32), SITE)
    plain = LocalScorer(tiny_metric, [find("brevity")], [1.0]).score(rows)
    monkeypatch.setattr(BatchGuard, "check", lambda *_: None)  # as if it had gone unseen
    spoils = writing(lambda batch: batch.predicted.zero_(), "spoils")
    assert LocalScorer(tiny_metric, [spoils], [1.0]).score(rows).match == plain.match


@pytest.mark.parametrize("name", sorted(names()))
def test_the_built_in_ones_do_not_write_and_so_need_no_checksum(
    name: str, tiny_reasoner: CodiReasoner, tiny_metric: ThoughtMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = find(name)
    assert innermost(record.function).__module__ in TESTED
    texts = ["12 + 5 = 17.", "12 + 5 = 17.", "9 - 8 = 1.", "9 - 7 = 2."]
    questions = [f"Ann has {n} apples. She buys 3 more." for n in (3, 4, 5, 6)]
    claims = [["12 + 5 = 17"]] * 4
    rows = make_rows(texts, torch.randn(4, 32), SITE, questions=questions, claims=claims)
    scorer = LocalScorer(tiny_metric, [record], [1.0])

    def no_sums(batch: RewardBatch) -> dict[str, int]:
        raise AssertionError("a run of tested functions pays for checksums")

    monkeypatch.setattr(batch_guard, "TESTED", frozenset())
    first = scorer.share(rows)  # with checksums
    assert len(first.raw[name]) == 4
    monkeypatch.setattr(batch_guard, "TESTED", TESTED)
    monkeypatch.setattr(batch_guard, "_sums", no_sums)
    scorer.share(rows)


def test_tested_modules_are_those_that_there_are() -> None:
    assert {innermost(record.function).__module__ for record in names().values()} == TESTED
