"""The protocol of latent reasoning models: think, read, answer.

Shapes: N questions or texts, K thoughts, d width, L + 1 layers (embeddings and every block's output;
the last is after the model's final norm).
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from reverse_codi.reasoners.sites import Site
from reverse_codi.recipe.reasoner import EMBEDDED, Source
from reverse_codi.utils.notebook import data_frame, html_line, html_table

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

# Chains that `repr` shows.
SHOWN = 10


@dataclass(frozen=True)
class Chains:
    """Latent chains of N questions, on the CPU in float32.

    Attributes:
        hidden_states: [N, K + 1, d], h0..hK.
        latent_inputs: [N, K, d], z0..z(K-1).
        outputs: what the model writes after its thoughts, decoded.
    """

    hidden_states: Tensor
    latent_inputs: Tensor
    outputs: list[str]

    def at(self, site: Site) -> Tensor:
        """The vectors [N, d] of one site, h or z.

        Raises:
            ValueError: the site has another kind.
        """
        if site.kind not in ("h", "z"):
            raise ValueError(f"a latent chain has no site {site}; ask for h0..hK or z0..z(K-1)")
        return (self.hidden_states if site.kind == "h" else self.latent_inputs)[:, site.index]

    def to_pandas(self) -> pandas.DataFrame:
        """A row a thought, h0..hK: trace, thought, hidden_state, latent_input (None for K) and output."""
        h, z = self.hidden_states.numpy(), self.latent_inputs.numpy()
        return data_frame(
            [
                {
                    "trace": row,
                    "thought": k,
                    "hidden_state": h[row, k],
                    "latent_input": z[row, k] if k < z.shape[1] else None,
                    "output": output,
                }
                for row, output in enumerate(self.outputs)
                for k in range(h.shape[1])
            ]
        )

    def __repr__(self) -> str:
        """How many chains of which shape, and what the first ones ended with."""
        return "\n".join([self._title(), *(f"  {output}" for output in self.outputs[:SHOWN]), *self._rest()])

    def _repr_html_(self) -> str:
        """The first chains, for notebooks: the norm of each hidden state, and the output."""
        head = ("trace", *(f"|h{k}|" for k in range(self.hidden_states.shape[1])), "output")
        norms = self.hidden_states[:SHOWN].norm(dim=-1).tolist()
        rows = [
            (row, *(f"{norm:.2f}" for norm in of_row), self.outputs[row]) for row, of_row in enumerate(norms)
        ]
        return html_line(self._title()) + html_table(head, rows) + "".join(map(html_line, self._rest()))

    def _title(self) -> str:
        _, k, d = self.latent_inputs.shape
        return f"Chains: {len(self.outputs)}, each of {k} thoughts of width {d}"

    def _rest(self) -> list[str]:
        more = len(self.outputs) - SHOWN
        return [f"... and {more} more; use to_pandas()"] if more > 0 else []


@dataclass(frozen=True)
class Patch:
    """Latent inputs that replace the model's own.

    Attributes:
        latent_inputs: [N, K, d] vectors; rows and thoughts outside `where` are ignored.
        where: [N, K] bool. Thoughts after a replaced one are recomputed unless they are replaced as well.
    """

    latent_inputs: Tensor
    where: Tensor

    @staticmethod
    def all(latent_inputs: Tensor) -> Patch:
        """Replace every thought; `latent_inputs` is [N, K, d]."""
        return Patch(latent_inputs, torch.ones(latent_inputs.shape[:2], dtype=torch.bool))


if TYPE_CHECKING:
    _ProtocolType = ABCMeta
else:
    _ProtocolType = type(Protocol)


class _Loading(_ProtocolType):
    """Gives `Reasoner` itself `from_pretrained`: were it of the Protocol, every reasoner would need it."""

    def from_pretrained(
        cls, source: str | Path | Source = EMBEDDED, device: str | None = None, revision: str | None = None
    ) -> Reasoner:
        """Load any latent reasoner: CODI, Coconut, or one that another package knows.

        Args:
            source: "embedded" for the small reasoner that the package carries; a folder, a weight file, a
                hub id; or a recipe's section, which can say more.
            device: where the weights go, "cpu" or "cuda"; the section's own if None, else the CPU.
            revision: commit, branch or tag of a hub id; the section's own if None.

        Raises:
            CheckpointError: there is none, it fits no known layout, or its files do not hold what they must.
            RecipeError: it is of recurrent depth, which has no chain of thoughts.
        """
        from reverse_codi.reasoners.load import as_source, open_reasoner  # it knows every kind of reasoner

        if revision is not None:
            source = as_source(source).model_copy(update={"revision": revision})
        return open_reasoner(source, device)


class Reasoner(Protocol, metaclass=_Loading):
    """A frozen latent reasoning model.

    `Reasoner.from_pretrained` loads one. As a type it stands for any object that thinks, reads and answers as
    below.
    """

    @property
    def n_thoughts(self) -> int:
        """K, the number of thoughts."""
        ...

    @property
    def width(self) -> int:
        """The width d of hidden states and latent inputs."""
        ...

    @property
    def content_hash(self) -> str:
        """SHA-256 over weights and configuration; it changes when any of them changes."""
        ...

    @property
    def tokenizer_hash(self) -> str:
        """SHA-256 of the tokenizer's definition."""
        ...

    @property
    def answer_cue(self) -> str:
        """The text before an answer, such as "The answer is:"; "" if the answer stands alone."""
        ...

    def think(
        self, questions: Sequence[str], patch: Patch | None = None, n_thoughts: int | None = None
    ) -> Chains:
        """Think and answer; a question's result does not depend on the other questions.

        Args:
            questions: N questions.
            patch: latent inputs that replace the model's own.
            n_thoughts: number of thoughts before the answer (early decoding); K if None.
        """
        ...

    def project(self, hidden_states: Tensor) -> Tensor:
        """The latent inputs [*, d] of hidden states [*, d] (the model's `prj`)."""
        ...

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Next-token logits [*, V] of hidden states [*, d]: the logit lens."""
        ...

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The characters [start, end) of each token of each text."""
        ...

    def answer_states(self, questions: Sequence[str], patch: Patch | None = None) -> Tensor:
        """The states [N, d] at the last token of the answer cue, after the thoughts.

        Args:
            questions: N questions.
            patch: latent inputs that replace the model's own.
        """
        ...

    def write(self, questions: Sequence[str], begun: Sequence[str] | None = None) -> list[str]:
        """CoT mode: solve in written steps, greedily, and return the steps and the answer.

        Args:
            questions: N questions.
            begun: N beginnings of solutions, which the model continues; the returned texts come after them.
        """
        ...

    def nll(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """Mean negative log-likelihood a token [N] of texts in CoT mode, in nats.

        Args:
            texts: N texts; an empty one has 0.
            questions: the question before each text; None means the end-of-text token.
        """
        ...

    def read(
        self, texts: Sequence[str], questions: Sequence[str] | None = None, suffix: str = ""
    ) -> list[Tensor]:
        """Read texts, after their questions if these are given.

        Returns one [L + 1, T, d] float32 tensor for each text, on the device that the model is on: the states
        at its own tokens and the suffix's. They may be views of one tensor.
        """
        ...


def described(reasoner: Reasoner, **more: object) -> str:
    """A reasoner in one line, for its `__repr__`."""
    shown = {
        "thoughts": reasoner.n_thoughts,
        "width": reasoner.width,
        **more,
        "hash": reasoner.content_hash[:12],
    }
    return f"{type(reasoner).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
