"""Texts for training thoughts as the rows that reward actors score.

Shapes: N texts, M distractors, d width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reverse_codi.rewards.candidates import Candidates
from reverse_codi.verbalize.distractors import Distractors, seed_of
from reverse_codi.verbalize.thoughts import Thoughts


class CandidateRows:
    """Makes rows of texts and the thoughts they stand for.

    Args:
        thoughts: training thoughts.
        distractors: M, other thoughts of the same site and of other problems that each row can be compared
            with.
        seed: of the distractors; a thought has the same ones in each row.
    """

    def __init__(self, thoughts: Thoughts, distractors: int, seed: int) -> None:
        self.thoughts = thoughts
        self.distractors = distractors
        self.seed = seed
        self._others = Distractors(thoughts.sites, thoughts.problems)

    def of(
        self,
        owners: Sequence[int],
        texts: Sequence[str],
        token_ids: Sequence[Sequence[int]],
        finished: Sequence[bool],
        version: int,
    ) -> Candidates:
        """Rows for N texts.

        Args:
            owners: N rows of the training thoughts.
            texts: N texts.
            token_ids: N lists of the verbalizer's tokens.
            finished: N times whether the text came to its end.
            version: policy that wrote them.
        """
        chosen = self.thoughts.take(owners)
        return Candidates(
            texts=list(texts),
            token_ids=[list(ids) for ids in token_ids],
            questions=chosen.questions,
            sites=chosen.sites,
            targets=chosen.targets,
            distractors=self._distractors(owners),
            finished=list(finished),
            claims=chosen.claims,
            policy_version=version,
        )

    def _distractors(self, owners: Sequence[int]) -> Tensor:
        """[N, M, d] thoughts of the same site, of other problems."""
        picked = {
            owner: self._others.rows(
                self.thoughts.sites[owner],
                self.thoughts.problems[owner],
                self.distractors,
                seed_of(self.seed, owner),
            )
            for owner in dict.fromkeys(owners)
        }
        return self.thoughts.targets[torch.tensor([picked[owner] for owner in owners])]
