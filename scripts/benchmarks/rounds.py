"""One round of search and distillation: texts a second, against a plain script with TRL's SFTTrainer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench_baseline import PlainLoop, Work
from transformers import DataCollatorForSeq2Seq
from trl import SFTConfig, SFTTrainer

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting
from benchmarks.step import policy_of, thoughts_of
from reverse_codi.reasoners.plain_text import decoded
from reverse_codi.recipe.reinforce import DistilSection, SearchSection, Stage
from reverse_codi.recipe.schema import Recipe
from reverse_codi.rewards.scoring import LocalScorer
from reverse_codi.training.actors import Actors
from reverse_codi.training.best_texts import BestTexts, Found
from reverse_codi.training.distil import distil, pairs
from reverse_codi.training.search_stage import SearchStage
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.warm_start import SftPairs, encode

SAMPLES, TEMPERATURE = 8, 1.5
SEARCH = SearchSection(samples=SAMPLES, temperature=TEMPERATURE, shortlist=2, keep=2)
# Without word dropout, which TRL alone has not.
DISTIL = DistilSection(steps=20, batch_size=128, learning_rate=1e-4, word_dropout=0, eval_steps=1000)


@contextmanager
def rounds(at: Setting, work: Path) -> Iterator[Row]:
    """Every thought gets 8 texts; the best are taught in 20 steps of 128."""
    recipe = Recipe.load("demo")
    thoughts = thoughts_of(at)
    with ExitStack() as stack:
        ours = _Ours(at, recipe, thoughts, work, stack)
        plain = _Plain(at, recipe, thoughts, work, stack)
        yield Row(
            "round",
            "texts/s",
            [
                Side("ours: Ray actors", ours.round),
                Side("of that the optimizer steps", ours.steps),
                Side("plain script", plain.round),
            ],
            {"round.vs_plain": ("ours: Ray actors", "plain script")},
        )


class _Ours:
    """What a stage of search and one of distillation do."""

    def __init__(self, at: Setting, recipe: Recipe, thoughts: Thoughts, work: Path, stack: ExitStack) -> None:
        self.thoughts, self.work = thoughts, work
        self.policy = policy_of(at, thoughts, stack)
        actors = Actors(recipe, at.base, at.adapter, stack)
        self.search = SearchStage(
            at.reasoner, at.metric, thoughts, actors, recipe.grpo, work / "policies", gold=[]
        )
        self.numbers = itertools.count(1)
        self.found = self._searched()

    def round(self) -> float:
        self.found = self._searched()
        return self.steps()

    def steps(self) -> float:
        taught = pairs(self.policy, BestTexts(self.found), DISTIL, self.thoughts, None, None)
        distil(self.policy, taught, DISTIL, self.work / f"distil-{next(self.numbers)}", lambda step: None)
        return float(len(self.thoughts) * SAMPLES)

    def _searched(self) -> list[Found]:
        number = next(self.numbers)
        return self.search(Stage("search", number, number, SEARCH), SEARCH, self.policy, BestTexts())[0]


class _Plain:
    """Generate for one batch of thoughts after the other, score text by text, teach by TRL's SFTTrainer."""

    def __init__(self, at: Setting, recipe: Recipe, thoughts: Thoughts, work: Path, stack: ExitStack) -> None:
        scorer = LocalScorer.from_section(recipe.reward, at.metric)
        self.work = Work(policy_of(at, thoughts, stack), thoughts, scorer, recipe)
        self.loop = PlainLoop(self.work)
        self.out = work / "plain"

    def round(self) -> float:
        thoughts, policy = self.work.thoughts, self.work.policy
        best: dict[int, str] = {}
        n = 0
        for start in range(0, len(thoughts), 32):
            rows = range(start, min(start + 32, len(thoughts)))
            ids = self.loop.sampled(list(rows), SAMPLES, TEMPERATURE)
            owners = [row for row in rows for _ in range(SAMPLES)]
            scores = [self.work.rewards([row], [text])[0] for row, text in zip(owners, ids, strict=True)]
            n += len(ids)
            for row in rows:
                own = [i for i, owner in enumerate(owners) if owner == row]
                best[row] = decoded(policy.tokenizer, ids[max(own, key=scores.__getitem__)])
        self._teach(list(best), list(best.values()))
        return float(n)

    def _teach(self, rows: Sequence[int], texts: Sequence[str]) -> None:
        policy = self.work.policy
        vectors = policy.verbalizer_config.inject(self.work.thoughts.slots[list(rows)])
        dataset = encode(SftPairs(vectors, texts), policy.verbalizer_config, policy.tokenizer)
        with policy.embedding.bank(vectors.flatten(0, 1)):
            SFTTrainer(
                model=policy.model,
                args=SFTConfig(
                    output_dir=str(self.out),
                    max_steps=DISTIL.steps,
                    per_device_train_batch_size=DISTIL.batch_size,
                    learning_rate=DISTIL.learning_rate,
                    lr_scheduler_type="cosine",
                    save_strategy="no",
                    remove_unused_columns=False,
                    dataset_kwargs={"skip_prepare_dataset": True},
                    max_length=None,
                    gradient_checkpointing=False,  # else the next round samples without a cache
                    use_cpu=True,
                    bf16=False,
                    report_to="none",
                    disable_tqdm=True,
                    logging_steps=1000,
                ),
                train_dataset=dataset,
                data_collator=DataCollatorForSeq2Seq(policy.tokenizer, padding=True, label_pad_token_id=-100),
                processing_class=policy.tokenizer,
            ).train()
