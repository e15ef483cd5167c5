"""What a figure needs, and why it is null where that is missing: minimal pairs, gold steps, wrong traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reverse_codi.evaluation.defaults import AMONG
from reverse_codi.evaluation.eval_set import EvalSet
from reverse_codi.utils.figures import Figures, nothing

NO_GOLD = "the task has no gold steps to compare with"
NO_PAIRS = "the task makes no minimal pairs"
NO_ACTIVE = "no thought encodes a step (encoded_steps.json); see reading.encoded_threshold"
NO_RIGHT = "no held-out answer is right, and gold steps are what was thought only where it is"
NO_WRONG = "no wrong trace was found; raise --wrong or draw more problems"
NO_DONOR = "held-out traces with an active thought state fewer than two different answers; raise --problems"
FEW_TEXTS = f"too few different gold texts to draw {AMONG - 1} others from; raise --problems"
FEW_QUESTIONS = f"fewer held-out problems than {AMONG} to choose a question from; raise --problems"

# Keys that every method has, and those of the thoughts themselves, whatever the task.
OF_METHOD = (
    *("match.whitened", "match.inactive", "cosine.centred", "fve.raw", "fve.affine", "fve.reconstructor"),
    *("retrieval.top1_64", "retrieval.mrr"),
    *(
        f"step_result.{k}{end}"
        for k in (1, 2, 3)
        for end in ("", ".all", ".above_lens_top1", ".above_lens_top5")
    ),
    *(f"{part}{end}" for part in ("operands", "operation", "claims.f1") for end in ("", ".all")),
    *("last.result", "last.operands", "last.operation", "claim.right", "chain.right"),
    *("claims.unsupported", "inactive.detected"),
    *("faithful.wrong", "faithful.wrong.gold", "faithful.swap", "faithful.swap_next"),
    *("cot.agree.right", "cot.agree.wrong"),
    *("causal.kept_all", "causal.kept_each", "causal.kept_all.other_text"),
    *("causal.counterfactual", "causal.counterfactual.inconsistent"),
    *("robust.paraphrase_drop", "robust.number_drop", "robust.shuffle_drop", "robust.counted"),
    *(
        "readability.nll",
        "readability.length",
        "readability.distinct_1",
        "readability.distinct_2",
        "top_share",
    ),
)
OF_THOUGHTS = (
    *(f"lens_top{n}.{k}{end}" for k in (1, 2, 3) for n in (1, 5) for end in ("", ".whole")),
    *(f"shuffled_top5.{k}" for k in (1, 2, 3)),
    *("likelihood.number", "likelihood.result", "likelihood.operation", "active.encoded", "ceiling.wrong"),
    *(f"causal.kept_all.{kind}" for kind in ("zero", "mean", "noise", "other", "empty_text", "gold_text")),
)


@dataclass(frozen=True)
class _Need:
    """What figures need.

    Attributes:
        of: beginnings of their keys.
        missing: whether an evaluation set lacks it.
        reason: what is said then.
    """

    of: tuple[str, ...]
    missing: Callable[[EvalSet], bool]
    reason: str


_CONTENT = ("step_result.", "operands", "operation", "claims.f1", "last.", "claim.right", "chain.right")
_FROM_GOLD = (
    *("lens_top", "shuffled_top5", "likelihood.", "causal.counterfactual", "ceiling.wrong"),
    "causal.kept_all.gold_text",
)
_OF_ACTIVE = (
    *(
        "match.whitened",
        "cosine.",
        "fve.",
        "retrieval.",
        "causal.kept",
        "robust.",
        "readability.",
        "top_share",
    ),
    *(*_CONTENT, *_FROM_GOLD),
)
# Of several things that are missing the first says why.
_NEEDS = (
    _Need(("faithful.swap", "active."), lambda eval_set: eval_set.pairs is None, NO_PAIRS),
    _Need(
        (*_CONTENT, *_FROM_GOLD),
        lambda eval_set: not eval_set.gold_steps,
        NO_GOLD,
    ),
    _Need(_OF_ACTIVE, lambda eval_set: not eval_set.active, NO_ACTIVE),
    _Need(("retrieval.",), lambda eval_set: not eval_set.candidates.enough, FEW_TEXTS),
    _Need(("causal.kept",), lambda eval_set: not can_replace(eval_set), NO_DONOR),
    _Need(
        ("faithful.wrong", "cot.agree.wrong", "ceiling.wrong"),
        lambda eval_set: not len(eval_set.wrong),
        NO_WRONG,
    ),
    _Need(
        (*_CONTENT, "lens_top", "shuffled_top5", "cot.agree.right", "causal.counterfactual"),
        lambda eval_set: not any(eval_set.right),
        NO_RIGHT,
    ),
)
# What a figure counts, where all that it needs is there and still nothing was counted.
_COUNTS = (
    ("step_result.", "no thought of a right trace encodes this step before the last one"),
    (
        "lens_top",
        "no thought of a right trace encodes this step before the last one, with a result of this kind",
    ),
    ("shuffled_top5", "no thought of a right trace encodes this step before the last one"),
    ("operation", "no encoded step that is asked for states an operation"),
    ("operands", "no encoded step that is asked for has operands"),
    ("last.operation", "no encoded last step states an operation"),
    ("last.", "no thought of a right trace encodes the last step"),
    ("claims.f1", "no thought of a right trace encodes a step before the last one"),
    ("claims.unsupported", "no text states a claim"),
    ("inactive.detected", "every thought encodes a step, or none does"),
    ("match.inactive", "every thought encodes a step"),
    ("likelihood.", "no encoded step can be changed so"),
    ("faithful.swap", "no pair of right answers whose thought encodes one step, with different results"),
    ("causal.counterfactual", "no encoded step of a right trace can be edited"),
    ("robust.", "less than half of the texts lie nearer than the mean, or none can be edited so"),
    ("ceiling.wrong", "no wrong trace ends in an active thought"),
    ("fve.reconstructor", "no reconstructor was fitted: it was left out, or the model writes no steps"),
)


def can_replace(eval_set: EvalSet) -> bool:
    """Whether the thoughts of a held-out trace can be replaced by those of one with another answer."""
    traced = eval_set.traced
    return len({traced.answers[row] for row in traced.usable}) > 1


def reason_of(key: str, eval_set: EvalSet) -> str:
    """Why the figure of a key is null."""
    for need in _NEEDS:
        # `.all` counts wrong traces too.
        asked = not (need.reason == NO_RIGHT and key.endswith(".all"))
        if asked and key.startswith(need.of) and need.missing(eval_set):
            return need.reason
    return next((reason for start, reason in _COUNTS if key.startswith(start)), "there is nothing to count")


def completed(found: Figures, keys: Iterable[str], eval_set: EvalSet) -> Figures:
    """The figures, those of `keys` that are missing as null, each null one with its reason."""
    every = {**found, **{key: nothing("") for key in keys if key not in found}}
    return {
        key: figure if figure.n else nothing(figure.reason or reason_of(key, eval_set))
        for key, figure in every.items()
    }
