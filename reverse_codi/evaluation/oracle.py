"""An oracle: a LoRA on the frozen model, trained with labels to answer questions about a thought.

It is an upper bound of what a verbalizer of this size could state about a thought. Close to latent question
answering (LatentQA, arXiv 2412.08686): the vector stands in the prompt's slot, the question after it.
One adapter answers all queries, each with a configuration of its own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from reverse_codi.evaluation.eval_set import EvalContext, EvalSet
from reverse_codi.evaluation.metrics.content import Overlap, gold_stated
from reverse_codi.evaluation.suite.content import STEPS, EncodedStep, encoded_steps
from reverse_codi.evaluation.trained_controls import new_like, require_known, trained_into
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.verbalizer import WarmStartSection
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.tasks.answers import CUE
from reverse_codi.utils import figures
from reverse_codi.utils.bootstrap import Interval
from reverse_codi.utils.figures import Figures
from reverse_codi.verbalize.config import MARKER
from reverse_codi.verbalize.greedy import greedy, greedy_engine
from reverse_codi.verbalize.policy import Policy
from reverse_codi.verbalize.thoughts import Thoughts
from reverse_codi.verbalize.warm_start import examples, fit

TRAINING = WarmStartSection(steps=1000)
"""Default; shorter is no upper bound. On the embedded reasoner operands reach .35 F1 after 600 steps and .62
after 1500, operations .80 and .94; results and final answers had settled by 600."""


class OracleQuestion(StrEnum):
    """What is asked about a thought."""

    OPERATION = "operation"
    RESULT = "result"
    OPERANDS = "operands"
    ANSWER = "final_answer"


def queries(reasoner: CodiReasoner) -> dict[OracleQuestion, str]:
    """The text of each query, of marks that a closed vocabulary has and the model's own answer cue.

    Raises:
        ValueError: the tokenizer does not know a word; the message names it.
    """
    texts = {
        OracleQuestion.OPERATION: "?",
        OracleQuestion.RESULT: "= ?",
        OracleQuestion.OPERANDS: ": ?",
        OracleQuestion.ANSWER: f"{reasoner.answer_cue or CUE} ?",
    }
    for text in texts.values():
        require_known(reasoner, text)
    return texts


def reply(asked: OracleQuestion, claims: Sequence[str], answer: str | None) -> str:
    """The right reply about a thought that holds `claims`, a full stop between two; "" where there is none.

    >>> reply(Asked.OPERANDS, ["12 + 5 = 17", "17 * 2 = 34"], "34")
    '12 5. 17 2'
    """
    if asked is OracleQuestion.ANSWER:
        return answer or ""
    encoded = gold_stated(claims)
    if asked is OracleQuestion.RESULT:
        return ". ".join(encoded.results)
    parts = encoded.operands if asked is OracleQuestion.OPERANDS else encoded.operators
    return ". ".join(" ".join(part) for part in parts)


@dataclass(frozen=True)
class Oracle:
    """Answers queries about thoughts.

    Attributes:
        reasoner: the frozen model.
        policy: embeds prompts.
        engine: writes.
    """

    reasoner: CodiReasoner
    policy: Policy
    engine: TransformersEngine

    def ask(self, asked: OracleQuestion, thoughts: Thoughts) -> list[str]:
        """A reply about each thought; it sees `thoughts.slots` [N, 1, d] alone."""
        asking = about(self.policy, queries(self.reasoner)[asked])
        return greedy(self.engine.generate, asking, thoughts.slots)


def about(policy: Policy, query: str) -> Policy:
    """The same policy with prompts that ask `query` about the thought."""
    return replace(
        policy,
        verbalizer_config=policy.verbalizer_config.model_copy(update={"template": f"{MARKER} {query}"}),
    )


def train_oracle(context: EvalContext, like: Path, out: Path, section: WarmStartSection = TRAINING) -> Oracle:
    """An oracle taught on the training thoughts that encode a step, or the finished one in `out`.

    Args:
        context: frozen model and training traces.
        like: folder of the evaluated verbalizer, whose LoRA shape and injection are taken.
        out: folder of the oracle; a finished one is used again, whatever it was trained with.
        section: hyperparameters; `kind` is not looked at.

    Raises:
        ValueError: the tokenizer does not know a word of a query.
    """
    reasoner = context.reasoner
    texts = queries(reasoner)

    def train() -> Policy:
        policy = new_like(reasoner, like, section.seed)
        thoughts = context.thoughts(context.train)
        lessons = _lessons(context, thoughts, section)
        asking = {asked: about(policy, text).verbalizer_config for asked, text in texts.items()}
        prompts = (asking[asked].build_prompt(policy.tokenizer, [row]) for row, asked, _ in lessons)
        replies = [right for _, _, right in lessons]
        dataset = examples(prompts, replies, policy.tokenizer)
        with policy.embedding.bank(policy.verbalizer_config.inject(thoughts.slots.flatten(0, 1))):
            fit(policy, dataset, section, out)
        return policy

    trained_into(out, reasoner, train)
    return Oracle(reasoner, Policy.load(out, reasoner), greedy_engine(reasoner, out))


def _lessons(
    context: EvalContext, thoughts: Thoughts, section: WarmStartSection
) -> list[tuple[int, OracleQuestion, str]]:
    """Thought, query and right reply: at random, no more than training will see."""
    most = section.problems or len(context.train)
    lessons = []
    for row, (site, of_problem) in enumerate(zip(thoughts.sites, thoughts.claims, strict=True)):
        claims = context.encoded.claims(site, of_problem)
        if not claims or thoughts.problems[row] >= most:
            continue
        replies = {asked: reply(asked, claims, thoughts.answers[row]) for asked in OracleQuestion}
        lessons += [(row, asked, right) for asked, right in replies.items() if right]
    if not lessons:
        raise ValueError("no training thought encodes a step with numbers, so there is nothing to ask about")
    seen = section.steps * section.batch_size
    return random.Random(section.seed).sample(lessons, min(seen, len(lessons)))


def oracle_figures(eval_set: EvalSet, oracle: Oracle) -> Figures:
    """How well the oracle answers about the held-out thoughts that encode a step.

    Keys `step_result.1|2|3`, `operands` and `operation` are F1 on intermediate steps of right traces, as
    in `suite.content`; `final_answer` is the share of thoughts, on all traces, whose reply is the answer that
    the model gave.
    """
    thoughts = eval_set.thoughts
    scores = {asked: _scores(eval_set, oracle, asked) for asked in OracleQuestion}
    middle = [h for h in encoded_steps(eval_set) if h.right and not h.last]

    def figure(asked: OracleQuestion, chosen: list[EncodedStep]) -> Interval:
        rows = [h.row for h in chosen if h.row in scores[asked]]
        return figures.share([scores[asked][row] for row in rows], [thoughts.problems[row] for row in rows])

    found = {
        f"step_result.{k + 1}": figure(OracleQuestion.RESULT, [h for h in middle if h.step == k])
        for k in range(STEPS)
    }
    found["operands"] = figure(OracleQuestion.OPERANDS, middle)
    found["operation"] = figure(OracleQuestion.OPERATION, middle)
    own = scores[OracleQuestion.ANSWER]
    found["final_answer"] = figures.share(list(own.values()), [thoughts.problems[row] for row in own])
    return found


def _scores(eval_set: EvalSet, oracle: Oracle, asked: OracleQuestion) -> dict[int, float]:
    """F1 of the reply's items for each causally active thought that has a right reply."""
    thoughts, reasoner = eval_set.thoughts, eval_set.context.reasoner
    right = {row: reply(asked, eval_set.gold_claims[row], thoughts.answers[row]) for row in eval_set.active}
    rows = [row for row, text in right.items() if text]
    if not rows:
        return {}
    predictions = oracle.ask(asked, thoughts.take(rows))
    # The right reply goes through the tokenizer too, which may part a minus from its number.
    gold = [reasoner.decode(reasoner.ids(right[row])) for row in rows]
    return {row: _overlap(a, b).f1 for row, a, b in zip(rows, predictions, gold, strict=True)}


def _overlap(predictions: str, gold: str) -> Overlap:
    """Replies compared claim by claim, whatever their order."""
    a, b = _items(predictions), _items(gold)
    return Overlap((a & b).total(), a.total(), b.total())


def _items(text: str) -> Counter[str]:
    """The parts of a reply, one for each claim; a stop within a number does not separate."""
    return Counter(item for part in re.split(r"\.(?!\S)", text) if (item := part.strip()))
