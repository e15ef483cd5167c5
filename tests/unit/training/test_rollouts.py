from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.grpo import GrpoSection
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.rewards.scoring import Scores
from reverse_codi.rollout.base import Finish, Rollout, Sampling
from reverse_codi.traces.store import TraceStore
from reverse_codi.training.grpo import carried
from reverse_codi.training.rollouts import Phases, Rollouts
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts, bank_rows, thought_sites, thoughts_of
from tests.tiny import make_encoded, make_tiny_policy

G = 3


class Pool:
    """Writes "12 + 5 = 17." for every prompt; the last text of each group is cut short."""

    def __init__(self, reasoner: CodiReasoner) -> None:
        self.ids = [*reasoner.ids("12 + 5 = 17."), reasoner.tokenizer.eos_token_id]
        self.prompts: list[torch.Tensor] = []
        self.asked: list[tuple[int, int]] = []  # policy and seed of each batch
        self.waited = 0

    def begin(
        self, prompts: Sequence[torch.Tensor], n: int, params: Sampling, version: int
    ) -> Callable[[], list[Rollout]]:
        self.prompts = list(prompts)
        self.asked.append((version, params.seed))
        whole, cut = (self.ids, Finish.STOP), (self.ids[:2], Finish.LENGTH)
        written = [
            Rollout(
                prompt_index=i,
                token_ids=np.array(ids, np.int32),
                logprobs=np.full(len(ids), -0.5, np.float32),
                finish=finish,
                policy_version=version,
            )
            for i in range(len(prompts))
            for ids, finish in [whole] * (n - 1) + [cut]
        ]

        def sampled() -> list[Rollout]:
            self.waited += 1
            return written

        return sampled


class Rewards:
    """Row number as reward; None for the last of a group. Its weight is the step."""

    calls = 0

    def score(self, rows: Candidates, step: int) -> Scores:
        self.rows = rows
        self.calls += 1
        raw: list[float | None] = [None if i % G == G - 1 else float(i) for i in range(len(rows))]
        match: list[float | None] = [0.5 if done else None for done in rows.finished]
        halved = [None if v is None else v / 2 for v in raw]
        return Scores(
            raw={"match": raw},
            columns={"match": halved},
            weights={"match": float(step)},
            total=[v or 0.0 for v in halved],
            match=match,
            scalars={"x": 1.0},
            read_s=2.0,
            reward_s=3.0,
            n_read=7,
        )


class Sync:
    """Stands for actors that hold whatever they are given."""

    first = 1

    def __init__(self, policy: Policy, pool: Pool) -> None:
        self.policy = policy
        self.pool = pool
        self.checked: list[int] = []  # batches that had been taken before each check

    def __call__(self, step: int) -> int:
        return step + 1

    def begin(self, step: int) -> int:
        return step + 1

    def check(self) -> None:
        self.checked.append(self.pool.waited)


def make_rollouts(reasoner: CodiReasoner, thoughts: Thoughts, **values: Any) -> Rollouts:
    policy = make_tiny_policy(reasoner)
    section = GrpoSection(samples=G, distractors=4, **values)
    seen: list[Any] = []
    made = Rollouts(
        thoughts,
        Sync(policy, Pool(reasoner)),  # type: ignore[arg-type]
        Rewards(),  # type: ignore[arg-type]
        section,
        lambda *given: seen.append(given),
    )
    made.seen = seen  # type: ignore[attr-defined]
    return made


@pytest.fixture(scope="module")
def thoughts(tiny_traces: TraceStore) -> Thoughts:
    return thoughts_of(tiny_traces, thought_sites(3), make_encoded(3), active_only=True)


@pytest.fixture
def rollouts(tiny_reasoner: CodiReasoner, thoughts: Thoughts) -> Iterator[Rollouts]:
    made = make_rollouts(tiny_reasoner, thoughts)
    with made.policy.embedding.bank(thoughts.slots.flatten(0, 1)):
        yield made


def test_one_batch_keeps_every_column_in_order(rollouts: Rollouts, thoughts: Thoughts) -> None:
    prompts = ["5"] * G + ["2"] * G
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=8))
    out = rollouts(prompts, trainer)  # type: ignore[arg-type]
    n_vocab = rollouts.policy.verbalizer_config.n_vocab
    assert out["prompt_ids"] == [[n_vocab + 5]] * G + [[n_vocab + 2]] * G
    whole, cut = rollouts.pool.ids, rollouts.pool.ids[:2]  # type: ignore[attr-defined]
    assert out["completion_ids"] == [whole, whole, cut] * 2
    assert [len(row) for row in out["logprobs"]] == [len(row) for row in out["completion_ids"]]
    assert out["reward_match"] == [0.0, 0.5, None, 1.5, 2.0, None]  # what counts, not what was said
    assert out["total"] == [0.0, 0.5, 0.0, 1.5, 2.0, 0.0]
    assert trainer.reward_weights.tolist() == [8.0]
    assert rollouts.rewards.calls == 1  # type: ignore[attr-defined] - one request for all prompts
    assert carried("match")(**out) == out["reward_match"]
    embeds = rollouts.pool.prompts  # type: ignore[attr-defined]
    assert torch.equal(torch.stack(embeds), thoughts.slots[[5, 2]])


def test_the_rewards_see_the_right_thoughts(rollouts: Rollouts, thoughts: Thoughts) -> None:
    rollouts(["5"] * G + ["2"] * G, SimpleNamespace(state=SimpleNamespace(global_step=8)))  # type: ignore[arg-type]
    rows: Candidates = rollouts.rewards.rows  # type: ignore[attr-defined]
    owners = [5] * G + [2] * G
    assert torch.equal(rows.targets, thoughts.targets[owners])
    assert rows.questions == [thoughts.questions[i] for i in owners]
    assert rows.sites == [thoughts.sites[i] for i in owners]
    assert rows.finished == [True, True, False] * 2
    assert rows.policy_version == 9
    assert rows.texts[0] == "12 + 5 = 17."
    step, message, scores = rollouts.seen[0]  # type: ignore[attr-defined]
    assert (step, message, list(scores.raw)) == (8, rows, ["match"])


def test_a_sampled_control_token_is_in_the_text_that_is_scored(rollouts: Rollouts) -> None:
    pool: Pool = rollouts.pool  # type: ignore[assignment]
    tokenizer = rollouts.policy.tokenizer
    pool.ids.insert(2, tokenizer.pad_token_id)
    rollouts(["5"] * G, SimpleNamespace(state=SimpleNamespace(global_step=8)))  # type: ignore[arg-type]
    assert rollouts.rewards.rows.texts[0] == "12 + <pad> 5 = 17."  # type: ignore[attr-defined]


def test_scalars_and_seconds(rollouts: Rollouts) -> None:
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=0))
    for _ in range(2):  # two batches before one log: their times add up
        rollouts(["0"] * G, trainer)  # type: ignore[arg-type]
    seconds = rollouts.phases.take()
    assert set(seconds) == {"sync", "generate", "read", "reward"}
    assert (seconds["read"], seconds["reward"]) == (4.0, 6.0)
    assert rollouts.phases.take() == {}
    expected = {"x": 1.0, "rollout/match": 0.5, "rollout/failed": 1 / 3, "rollout/texts_read": 7.0}
    assert expected.items() <= {k: pytest.approx(v) for k, v in rollouts.scalars.items()}.items()
    assert rollouts.scalars["rollout/distinct"] == pytest.approx(2 / 3)


class Trainer(SimpleNamespace):
    """Learns from thoughts 5 and 2, then 6 and 3, ... in turn."""

    def __init__(self, step: int = 0) -> None:
        super().__init__(state=SimpleNamespace(global_step=step))

    def batch_rows(self, number: int) -> list[int]:
        return [5 + number, 2 + number]


def prompts_of(rows: Sequence[int]) -> list[str]:
    return [str(row) for row in rows for _ in range(G)]


def test_the_next_batch_is_sampled_while_one_is_learnt_from(
    tiny_reasoner: CodiReasoner, thoughts: Thoughts
) -> None:
    ahead = make_rollouts(tiny_reasoner, thoughts, max_staleness=1, steps=3)
    pool: Any = ahead.pool
    staleness = []
    with ahead.policy.embedding.bank(thoughts.slots.flatten(0, 1)):
        for step in range(3):
            trainer: Any = Trainer(step)
            columns = ahead(prompts_of(trainer.batch_rows(step)), trainer)
            staleness.append(ahead.scalars["rollout/staleness"])
            n_vocab = ahead.policy.verbalizer_config.n_vocab
            assert columns["prompt_ids"] == [
                [n_vocab + row] for row in (5 + step, 2 + step) for _ in range(G)
            ]
            assert pool.waited == step + 1  # the batch that is under way is not waited for
            sync: Any = ahead.sync
            assert sync.checked == list(range(step + 1))  # each batch's policy, before it is taken
    # Policy and seed of each batch: the second is asked for with the first one's policy.
    assert pool.asked == [(1, 0), (1, 1), (2, 2)]
    assert staleness == [0, 1, 1]


def test_a_batch_of_several_steps_is_followed_by_the_one_after_them(
    tiny_reasoner: CodiReasoner, thoughts: Thoughts
) -> None:
    ahead = make_rollouts(
        tiny_reasoner, thoughts, max_staleness=1, steps=12, steps_per_generation=2, iterations=2
    )
    pool: Any = ahead.pool
    with ahead.policy.embedding.bank(thoughts.slots.flatten(0, 1)):
        for number in range(3):
            trainer: Any = Trainer(4 * number)
            ahead(prompts_of(trainer.batch_rows(number)), trainer)
    assert pool.asked == [(1, 0), (1, 4), (5, 8)]
    assert ahead.scalars["rollout/staleness"] == 4


def test_actors_finish_a_batch_before_they_get_another_policy(
    tiny_reasoner: CodiReasoner, thoughts: Thoughts
) -> None:
    ahead = make_rollouts(tiny_reasoner, thoughts, max_staleness=1, steps=9)
    pool: Any = ahead.pool
    trainer: Any = Trainer()
    with ahead.policy.embedding.bank(thoughts.slots.flatten(0, 1)):
        ahead(prompts_of([5, 2]), trainer)
        assert pool.waited == 1
        assert ahead.bring(1) == 2
        assert pool.waited == 2  # an actor that had died could not sample it again
        trainer.state.global_step = 1
        ahead(prompts_of([6, 3]), trainer)
        assert pool.waited == 2 and len(pool.asked) == 3


def test_other_thoughts_than_were_asked_for_are_sampled_anew(
    tiny_reasoner: CodiReasoner, thoughts: Thoughts
) -> None:
    ahead = make_rollouts(tiny_reasoner, thoughts, max_staleness=1, steps=9)
    trainer: Any = Trainer()
    with ahead.policy.embedding.bank(thoughts.slots.flatten(0, 1)):
        ahead(prompts_of([5, 2]), trainer)
        trainer.state.global_step = 1
        columns = ahead(prompts_of([8, 9]), trainer)
    n_vocab = ahead.policy.verbalizer_config.n_vocab
    assert columns["prompt_ids"][0] == [n_vocab + 8]
    assert ahead.scalars["rollout/staleness"] == 0


def test_distractors_are_of_the_same_site_and_never_of_the_same_problem(
    rollouts: Rollouts, thoughts: Thoughts
) -> None:
    drawn = rollouts._rows._distractors([7, 7, 8])
    assert drawn.shape == (3, 4, 32)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[2], rollouts._rows._distractors([8])[0])
    for owner, others in ((7, drawn[0]), (8, drawn[2])):
        same = [(thoughts.targets == other).all(1).nonzero().flatten().tolist() for other in others]
        rows = {row for [row] in same}
        assert len(rows) == 4 and {thoughts.sites[row] for row in rows} == {thoughts.sites[owner]}
        assert thoughts.problems[owner] not in {thoughts.problems[row] for row in rows}


def test_few_thoughts_are_repeated_and_one_problem_is_an_error(
    tiny_reasoner: CodiReasoner, thoughts: Thoughts
) -> None:
    of_site = [i for i, site in enumerate(thoughts.sites) if site == Site("h", 0)]
    few = make_rollouts(tiny_reasoner, thoughts.take(of_site[:3]))
    drawn = few._rows._distractors([0, 1, 2])
    assert drawn.shape == (3, 4, 32)
    others = {tuple(target) for target in few.thoughts.targets[1:].tolist()}
    assert {tuple(target) for target in drawn[0].tolist()} == others
    lonely = make_rollouts(tiny_reasoner, thoughts.take(of_site[:1]))
    with pytest.raises(ValueError, match=r"no other problem has a thought at h0.*raise trace\.n"):
        lonely._rows._distractors([0])


def test_bank_rows_count_slots(thoughts: Thoughts) -> None:
    assert bank_rows(thoughts.take([0, 1])) == [[0], [1]]
    two_slots = Thoughts(
        thoughts.slots[:4].view(2, 2, -1),
        thoughts.targets[:2],
        *([[]] * 6),  # type: ignore[arg-type]
    )
    assert bank_rows(two_slots) == [[0, 1], [2, 3]]


def test_phases_add_up() -> None:
    phases = Phases()
    assert phases.timed("a", lambda: 5) == 5
    phases.add("a", 1.0)
    phases.add("a", 2.0)
    assert 3.0 <= phases.take()["a"] < 3.1
