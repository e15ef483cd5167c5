"""Preparation by its stages: probes and maps against scikit-learn, the model's own steps against generate."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting
from reverse_codi.reading.affine import AffineMap
from reverse_codi.reading.probes import part_labels, read_out
from reverse_codi.reading.reader import Reader
from reverse_codi.recipe.reading import ReadSpec
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Split

TRACES, WRITTEN, BATCH, FOLDS, RIDGE = 2000, 256, 32, 5, 0.1
SITE, STEP = 1, 0


@dataclass(frozen=True)
class _Traces:
    """The second thought of N problems, and what their first step says.

    Attributes:
        thoughts: [N, d].
        claims: N claims.
    """

    thoughts: Tensor
    claims: Sequence[str]

    @classmethod
    def of(cls, at: Setting) -> _Traces:
        problems = Arithmetic().problems(Split.TRAIN, TRACES, seed=1)
        thoughts = at.reasoner.think([problem.question for problem in problems]).hidden_states[:, SITE]
        return cls(thoughts, [problem.claims[STEP] for problem in problems])


@contextmanager
def probes(at: Setting, work: Path) -> Iterator[Row]:
    """What a thought holds of a step, part by part, each trace read by a probe that had not seen it."""
    traces = _Traces.of(at)
    columns = part_labels(traces.claims)
    vectors = traces.thoughts.numpy()

    def ours() -> float:
        read_out(traces.thoughts, columns)
        return float(TRACES)

    linear, chosen, pipeline, scaling = _sklearn()

    def sklearn() -> float:
        probe = pipeline.make_pipeline(scaling.StandardScaler(), linear.LogisticRegression(max_iter=200))
        for labels in columns:
            chosen.cross_val_score(probe, vectors, np.array(labels), cv=chosen.KFold(FOLDS))
        return float(TRACES)

    other = "scikit-learn, logistic regression, 5 folds"
    yield Row(
        "probes",
        "traces/s",
        [Side("ours", ours), Side(other, sklearn)],
        {"probes.vs_sklearn": ("ours", other)},
    )


@contextmanager
def maps(at: Setting, work: Path) -> Iterator[Row]:
    """A site's map from read states to thoughts, with the covariance of errors on rows left out."""
    traces = _Traces.of(at)
    features = Reader(at.reasoner, ReadSpec()).features([f"{claim}." for claim in traces.claims])
    x, y = features.double().numpy(), traces.thoughts.double().numpy()

    def ours() -> float:
        AffineMap.fit(features, traces.thoughts, RIDGE)
        return float(TRACES)

    linear, chosen, pipeline, scaling = _sklearn()

    def sklearn() -> float:
        ridge = pipeline.make_pipeline(scaling.StandardScaler(), linear.Ridge(1e-3 * RIDGE * TRACES))
        errors = y - chosen.cross_val_predict(ridge, x, y, cv=chosen.KFold(FOLDS))
        np.linalg.cholesky(np.linalg.inv(np.cov(errors.T)))
        ridge.fit(x, y)
        return float(TRACES)

    other = "scikit-learn, ridge regression, 5 folds"
    yield Row(
        "maps",
        "traces/s",
        [Side("ours", ours), Side(other, sklearn)],
        {"maps.vs_sklearn": ("ours", other)},
    )


@contextmanager
def written(at: Setting, work: Path) -> Iterator[Row]:
    """The model solves questions in written steps, greedily; both sides must write the same."""
    questions = [problem.question for problem in Arithmetic().problems(Split.TRAIN, WRITTEN, seed=1)]
    reasoner = at.reasoner
    rows = reasoner.before_steps(questions)
    config = reasoner.config
    wanted = reasoner.write(questions[:BATCH])

    def ours() -> float:
        reasoner.write(questions)
        return float(WRITTEN)

    @torch.no_grad()
    def generate() -> float:
        for start in range(0, WRITTEN, BATCH):
            ids, mask = reasoner.left_padded(rows[start : start + BATCH])
            out = reasoner.lm.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=config.max_written_tokens,
                eos_token_id=reasoner.tokenizer.eos_token_id,
                pad_token_id=reasoner.tokenizer.eos_token_id,
                suppress_tokens=list(config.unwritten_ids) or None,
            )[:, ids.shape[1] :].tolist()
            end = reasoner.tokenizer.eos_token_id
            texts = [reasoner.solution(row[: row.index(end)] if end in row else row) for row in out]
            assert start or texts == wanted, "generate writes otherwise"
        return float(WRITTEN)

    other = f"transformers generate, batches of {BATCH}"
    yield Row(
        "written",
        "questions/s",
        [Side("ours", ours), Side(other, generate)],
        {"written.vs_generate": ("ours", other)},
    )


def _sklearn() -> list[ModuleType]:
    """Its modules linear_model, model_selection, pipeline and preprocessing; the bench ends without them."""
    try:
        return [
            import_module(f"sklearn.{name}")
            for name in ("linear_model", "model_selection", "pipeline", "preprocessing")
        ]
    except ModuleNotFoundError:
        sys.exit('this row compares with scikit-learn: pip install -c constraints.txt -e ".[bench]"')
