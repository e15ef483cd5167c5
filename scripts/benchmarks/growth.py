"""How sampling and reading grow: texts a question, length of texts, number of thoughts and of actors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.measure import Row, Side
from benchmarks.setting import Setting
from reverse_codi.reading.reader import Reader
from reverse_codi.recipe.reading import Prefix, ReadSpec
from reverse_codi.rollout.base import Sampling
from reverse_codi.rollout.pool import RolloutPool

SAMPLES, TOKENS, OTHER_TOKENS = (4, 16, 64), 24, (8, 48)


@contextmanager
def read_growth(at: Setting, work: Path) -> Iterator[Row]:
    """Texts a second of the reader, by the number of texts a question and by their length."""
    few = at.problems[:16]

    def side(samples: int, claims: int) -> Callable[[], float]:
        questions = [problem.question for problem in few for _ in range(samples)]
        texts = [
            " ".join(f"{12 + text} + {number} = {12 + text + number}." for _ in range(claims))
            for number in range(len(few))
            for text in range(samples)
        ]

        def run() -> float:
            Reader(at.reasoner, ReadSpec(prefix=Prefix.QUESTION)).features(texts, questions)
            return float(len(texts))

        return run

    sides = [Side(f"{n} texts a question", side(n, 1)) for n in SAMPLES]
    sides += [Side(f"16 texts of {claims} claims", side(16, claims)) for claims in (2, 4)]
    yield Row("read, growth", "texts/s", sides)


@contextmanager
def rollout_growth(at: Setting, work: Path) -> Iterator[Row]:
    """Tokens a second of the pool, by texts a thought, their length, thoughts and actors."""
    prompts = at.policy.prompt_embeds(at.vectors)
    with ExitStack() as stack:
        pools = []
        for actors in (1, 2):
            section = at.rollout(policy="merged").model_copy(update={"actors": actors})
            pools.append(stack.enter_context(RolloutPool(at.base, section)))
            pools[-1].sync(at.adapter, 1)

        def side(thoughts: int, samples: int, new_tokens: int, actors: int = 1) -> Callable[[], float]:
            chosen = (prompts * thoughts)[:thoughts]

            def run() -> float:
                sampling = Sampling(max_new_tokens=new_tokens)
                return float(
                    sum(len(r.token_ids) for r in pools[actors - 1].generate(chosen, samples, sampling, 1))
                )

            return run

        n, tokens = len(prompts), f"texts of {TOKENS} tokens"
        sides = [Side(f"{n} thoughts x {g} {tokens}", side(n, g, TOKENS)) for g in SAMPLES]
        sides += [Side(f"{n} thoughts x 16 texts of {t} tokens", side(n, 16, t)) for t in OTHER_TOKENS]
        sides += [Side(f"{4 * n} thoughts x 16 {tokens}", side(4 * n, 16, TOKENS))]
        sides += [Side("the same by two actors", side(4 * n, 16, TOKENS, actors=2))]
        yield Row("rollout, growth", "tokens/s", sides)
