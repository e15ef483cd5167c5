"""Truncated importance sampling between trainer and engine, without a forward pass of its own.

Engine and trainer compute the probabilities of the same tokens a little differently, and the ratio of both
weighs each token's loss. TRL takes a pass over all texts for the trainer's side. Where texts are learnt from
once, the pass that learns gives the same values, so the ratio is taken there. That saves one of five passes
(learning counts as three, the reference as one).

Shapes: B texts, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

RATIO, SAMPLED = "importance_sampling_ratio", "sampling_per_token_logps"
"""What TRL calls them in a batch, [B, T] each."""


class ImportanceCorrection:
    """Mixin of TRL's GRPO trainer, before it in the order of bases, for an engine that TRL does not own.

    TRL 1.16 corrects only when `use_vllm` is set, and then wants to start an engine itself. So the flag is
    off while TRL is built and while it generates (pinned by tests/contract/test_trl_contract.py).
    """

    _learnt_from: dict[str, Any] | None = None

    def _generate(self, prompts: list[Any]) -> Any:
        trainer: Any = self
        before, trainer.use_vllm = trainer.use_vllm, False
        generated = super()._generate(prompts)  # type: ignore[misc]
        trainer.use_vllm = before
        return generated

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's batch; with ratios where its texts are learnt from several times."""
        trainer: Any = self
        trainer.use_vllm = trainer.args.steps_per_generation * trainer.num_iterations > 1
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        return batch

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        trainer: Any = self
        trainer.use_vllm, self._learnt_from = True, inputs
        loss = super()._compute_loss(model, inputs)  # type: ignore[misc]
        self._learnt_from = None
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's log-probabilities; within the loss they give the ratios that the batch lacks."""
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        batch = self._learnt_from
        if batch is not None and RATIO not in batch:
            batch[RATIO] = self._ratio(found[0].detach(), batch)
        return found

    def _ratio(self, logprobs: Tensor, batch: dict[str, Any]) -> Tensor:
        """Ratios [B, T], noted under TRL's names; 1 at tokens that the engine gave no probability."""
        trainer: Any = self
        mask = batch["completion_mask"].bool() & ~batch[SAMPLED].isnan()
        apart = (logprobs - batch[SAMPLED]).masked_fill(~mask, 0.0)
        ratio = apart.exp().clamp(max=trainer.vllm_importance_sampling_clip_max)
        for name, values in ((RATIO, ratio), ("sampling_logp_difference", apart.abs())):
            of_tokens = values[mask] if bool(mask.any()) else values.new_zeros(1)
            for kind in ("min", "mean", "max"):
                everywhere = trainer.accelerator.gather(getattr(torch, kind)(of_tokens))
                value = float(getattr(everywhere.float(), kind)())
                trainer._metrics["train"][f"sampling/{name}/{kind}"].append(value)
        return ratio
