"""A latent reasoning model small enough for any test: untrained, seeded, made in well under a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.claims import EncodedSteps
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reading.reader import Reader
from reverse_codi.reasoners.codi import CodiConfig, CodiReasoner, new_language_model
from reverse_codi.reasoners.latent_lm import LatentLM, projection
from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.recipe.verbalizer import VerbalizerSection
from reverse_codi.rewards.batch import RewardBatch
from reverse_codi.rewards.candidates import Candidates
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split
from reverse_codi.tasks.graph import Graph
from reverse_codi.tasks.words import word_tokenizer
from reverse_codi.traces.collect import TraceRequest, collect
from reverse_codi.traces.store import TraceStore
from reverse_codi.verbalize.config import VerbalizerConfig
from reverse_codi.verbalize.policy import Policy


def make_tiny_reasoner(
    n_thoughts: int = 3,
    hidden: int = 32,
    layers: int = 2,
    seed: int = 0,
    task: Arithmetic | Graph | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> CodiReasoner:
    """An untrained CODI reasoner over a task's vocabulary or a tokenizer; one seed gives the same weights."""
    tokenizer = tokenizer or word_tokenizer((task or Arithmetic()).vocabulary())
    with torch.random.fork_rng():  # the caller's random state stays as it is
        torch.manual_seed(seed)
        lm = new_language_model(
            tokenizer,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
        )
        prj = projection(hidden, 2 * hidden)
    bot, eot = len(tokenizer) + 1, len(tokenizer) + 2
    config = CodiConfig(n_thoughts, 2 * hidden, bot, eot, max_written_tokens=16)
    model = LatentLM(lm, prj, n_thoughts, bot, eot)
    model.requires_grad_(False)
    return CodiReasoner(model, tokenizer, config)


def make_sharp_reasoner(**shape: int) -> CodiReasoner:
    """The tiny reasoner with weights so large that what it sees shows, and it can be sure of a token."""
    reasoner = make_tiny_reasoner(**shape)
    with torch.no_grad():
        for weight in reasoner.lm.parameters():
            if weight.dim() == 2:
                weight.mul_(5)
    return reasoner


def make_problems(n: int, seed: int = 0, split: Split = Split.TRAIN) -> list[Problem]:
    """Problems whose every word the tiny reasoner knows."""
    return Arithmetic().problems(split, n, seed)


def make_tiny_metric(reasoner: CodiReasoner, spec: ReadSpec | None = None, n: int = 128) -> ThoughtMetric:
    """Maps for every thought, fitted on the last claims of `n` problems."""
    reader = Reader(reasoner, spec or ReadSpec())
    problems = make_problems(n)
    questions = [p.question for p in problems]
    chains = reasoner.think(questions)
    with_question = reader.spec.prefix is Prefix.QUESTION
    features = reader.features([p.claims[-1] for p in problems], questions if with_question else None)
    sites = [Site("h", k) for k in range(reasoner.n_thoughts)]
    ridge = reader.spec.ridge
    return ThoughtMetric(reader, {site: AffineMap.fit(features, chains.at(site), ridge) for site in sites})


def make_tiny_traces(
    reasoner: CodiReasoner, folder: Path, n: int, split: Split = Split.TRAIN, seed: int = 0
) -> TraceStore:
    """Traces of `n` problems, collected into `folder`."""
    asked = TraceRequest(split=split, n=n, seed=seed, out=folder, shard_rows=n, batch_size=n)
    return collect(reasoner, Arithmetic(), asked)


def make_encoded(n_thoughts: int, longest: int = 4) -> EncodedSteps:
    """Thought k holds step k, and the last one every later step too."""
    return EncodedSteps(
        {
            (Site("h", k), n): [float(step == k or (k == n_thoughts - 1 and step > k)) for step in range(n)]
            for k in range(n_thoughts)
            for n in range(1, longest + 1)
        },
        0.5,
    )


def make_tiny_policy(reasoner: CodiReasoner, rank: int = 4, seed: int = 0, n_slots: int = 1) -> Policy:
    """A verbalizer that has learnt nothing."""
    verbalizer_config = VerbalizerConfig(
        n_slots=n_slots,
        n_vocab=reasoner.lm.get_input_embeddings().num_embeddings,
        reasoner_hash=reasoner.content_hash,
        tokenizer_hash=reasoner.tokenizer_hash,
    )
    return Policy.new(reasoner, VerbalizerSection(rank=rank, alpha=2 * rank), verbalizer_config, seed)


def stir(policy: Policy, seed: int = 0, size: float = 0.3) -> None:
    """Move the LoRA away from 0, so that the policy is not its base."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(size * torch.randn(weight.shape, generator=generator))


class TableReader(Reader):
    """Reads each text as a vector given beforehand; unknown texts as `default`. Counts what it read."""

    def __init__(self, table: Mapping[str, Sequence[float]], default: Sequence[float] = ()) -> None:
        self.spec = ReadSpec()
        self.table = dict(table)
        self.default = list(default)
        self.read: list[str] = []

    def features(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """The vectors [N, F] of the texts."""
        self.read += texts
        return torch.tensor([self.table.get(text, self.default) for text in texts])


def make_table_metric(
    table: Mapping[str, Sequence[float]], site: Site, default: Sequence[float] = ()
) -> ThoughtMetric:
    """A measure whose predictions are the table's vectors, with plain distances and mean 0."""
    d = len(next(iter(table.values())))
    identity = AffineMap(torch.eye(d), torch.zeros(d), torch.zeros(d), torch.eye(d), torch.zeros(0, d))
    return ThoughtMetric(TableReader(table, default), {site: identity})


def make_rows(texts: list[str], targets: Tensor, site: Site, **others: Any) -> Candidates:
    """Finished rows of one site without distractors, unless `others` says so."""
    n, d = targets.shape
    values = {
        "token_ids": [list(range(len(text.split()))) for text in texts],
        "questions": [f"question {i}" for i in range(n)],
        "sites": [site] * n,
        "distractors": torch.zeros(n, 0, d),
        "finished": [True] * n,
    }
    return Candidates(texts=texts, targets=targets, **{**values, **others})


def make_batch(
    rows: Candidates, metric: ThoughtMetric, log: Callable[[str, float], None] | None = None
) -> RewardBatch:
    """The rows as reward functions see them."""
    states = metric.reader.features(rows.texts, rows.questions)
    predicted = metric.apply(states, rows.sites)
    columns = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    ignore: Callable[[str, float], None] = lambda name, value: None  # noqa: E731
    return RewardBatch(**columns, states=states, predicted=predicted, metric=metric, log=log or ignore)
