"""The reader: the frozen model's states on texts; each distinct text is read once.

Shapes: N texts, B blocks (points x chosen layers), d width, F features (B x d, or B x rank with a basis).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.basis import FeatureBasis
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.recipe.reading import Point, Prefix, ReadSpec
from reverse_codi.tasks.spellings import numbers_in

# Texts are read in chunks of like length: the reasoner returns every token's state of every layer, of
# which only a fraction is kept. A chunk's states take no more than so many bytes, on the CPU and on a GPU:
# there 256 MiB would be few, 64 texts of 30 tokens at width 2,048 and 17 layers.
CHUNK, CHUNK_BYTES, GPU_CHUNK_BYTES = 512, 256 << 20, 2 << 30


class ReadingError(UserError):
    """The frozen model's states on a text are not finite."""


class Reader:
    """Reads texts as a `ReadSpec` says.

    Args:
        reasoner: the frozen latent reasoning model.
        spec: how to read.
        basis: what states are projected on; None keeps them whole.
    """

    def __init__(self, reasoner: Reasoner, spec: ReadSpec, basis: FeatureBasis | None = None) -> None:
        self.reasoner = reasoner
        self.spec = spec
        self.basis = basis
        self._moved = basis

    def features(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """States [N, F] of texts, which are stripped and tokenized here; float32, on the CPU.

        Args:
            texts: what to read.
            questions: their questions; needed if the spec's prefix is the question.

        Raises:
            ValueError: the spec needs questions, and there is not one for each text.
            ReadingError: a state is not finite; later comparisons would not detect it.
        """
        with_question = self.spec.prefix is Prefix.QUESTION
        if with_question and (questions is None or len(questions) != len(texts)):
            raise ValueError(
                f"this ReadSpec reads after the question: give one for each of {len(texts)} texts"
            )
        cut = self.spec.point is Point.BEFORE_RESULT
        wanted = [before_last_number(text.strip()) if cut else text.strip() for text in texts]
        keys = (
            list(zip(wanted, questions, strict=True))
            if with_question and questions
            else [(t, "") for t in wanted]
        )
        distinct = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        read = self._read([t for t, _ in distinct], [q for _, q in distinct] if with_question else None)
        return read if len(read) == len(keys) else read[[distinct[key] for key in keys]]

    def _read(self, texts: list[str], questions: list[str] | None) -> Tensor:
        length = [len(text) + len(question) for text, question in zip(texts, questions or texts, strict=True)]
        order = sorted(range(len(texts)), key=length.__getitem__)
        features = torch.empty(0, 0)
        start, size = 0, min(8, CHUNK)
        while start < len(order):
            chunk = order[start : start + size]
            after = None if questions is None else [questions[i] for i in chunk]
            kept, size = self._read_chunk([texts[i] for i in chunk], after)
            if start == 0:
                features = torch.empty(len(texts), kept.shape[1])
            features[chunk] = kept
            start += len(chunk)
        if not bool((good := features.isfinite().all(1)).all()):
            text = texts[int((~good).nonzero()[0])]
            raise ReadingError(
                f"the model's states on the text {text!r} are not finite; check its weights, or read in a "
                "wider dtype"
            )
        return features

    def _read_chunk(self, texts: list[str], questions: list[str] | None) -> tuple[Tensor, int]:
        """Features [N, F] of texts on the CPU, and how many texts of the longest's size make a chunk.

        The states go when this ends: with the next chunk's beside them they would take twice as much.
        """
        read = self.reasoner.read(texts, questions, self.spec.suffix)
        # Only features leave the states' device: of a text they are far less than its states.
        kept = self.of_states(read, texts).cpu()
        most = CHUNK_BYTES if read[0].device.type == "cpu" else GPU_CHUNK_BYTES
        return kept, min(CHUNK, max(1, most // max(states.nbytes for states in read)))

    def of_states(self, states: Sequence[Tensor], texts: Sequence[str]) -> Tensor:
        """The features [N, F] of N texts from their states, on the device that these are on.

        Args:
            states: of each text [L + 1, T, d], float32.
            texts: N texts.
        """
        return self._kept(self.taken(states, texts))

    def _chosen(self, n_layers: int) -> list[int]:
        """The layers that are kept of `n_layers`."""
        return self.spec.layer_indices(n_layers)

    def _kept(self, blocks: Tensor) -> Tensor:
        """The features [N, F] of blocks [N, B, d]."""
        return blocks.flatten(1) if self.basis is None else self._projected(blocks)

    def _projected(self, blocks: Tensor) -> Tensor:
        """The features [N, B * r] of blocks [N, B, d], on their device."""
        assert self._moved is not None
        self._moved = moved = self._moved.to(blocks.device)  # and stays there: it can have 50 MiB
        return moved(blocks)

    def taken(self, states: Sequence[Tensor], texts: Sequence[str]) -> Tensor:
        """The blocks [N, B, d] of N texts, on the device that their states are on.

        Args:
            states: of each text [L + 1, T, d].
            texts: N texts.
        """
        width = states[0].shape[2]
        states = _of_layers(states, self._chosen(len(states[0])))
        match self.spec.point:
            case Point.MEAN:
                blocks = [layers.mean(1) for layers in states]
            case Point.NUMBERS:
                blocks = [
                    (weights @ layers).transpose(0, 1)  # [4, T] by [L, T, d]
                    for weights, layers in zip(self._weights(states, texts), states, strict=True)
                ]
            case _:
                blocks = [layers[:, -1] for layers in states]
        return torch.stack(blocks).reshape(len(states), -1, width)

    def _weights(self, states: Sequence[Tensor], texts: Sequence[str]) -> Sequence[Tensor]:
        """What each token counts at the four points of a text's numbers, [4, T] by text."""
        lengths = [layers.shape[1] for layers in states]
        numbers = [numbers_at(text, at) for text, at in zip(texts, self.reasoner.offsets(texts), strict=True)]
        weights = [
            number_weights(tuple(of_text) or tuple(range(length)), length)
            for of_text, length in zip(numbers, lengths, strict=True)
        ]
        # Moved together: each move to a GPU waits for all that the GPU was given before.
        return torch.cat(weights, 1).to(states[0]).split(lengths, 1)


def _of_layers(states: Sequence[Tensor], chosen: list[int]) -> Sequence[Tensor]:
    """The chosen layers of states [L + 1, T, d]; views where they follow each other."""
    first, end = chosen[0], chosen[-1] + 1
    if chosen == list(range(len(states[0]))):
        return states
    if chosen == list(range(first, end)):
        return [layers[first:end] for layers in states]
    index = torch.tensor(chosen, device=states[0].device)
    return [layers.index_select(0, index) for layers in states]


@lru_cache(maxsize=4096)
def number_weights(numbers: tuple[int, ...], length: int) -> Tensor:
    """What each of T tokens counts at four points: last number, between first and last, all numbers, first.

    >>> number_weights((0, 3), 4).tolist()
    [[0.0, 0.0, 0.0, 1.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0]]

    Args:
        numbers: the tokens that are part of a number; at least one.
        length: T.
    """
    first, last = numbers[0], numbers[-1]
    weights = torch.zeros(4, length)
    weights[0, last] = weights[3, first] = 1
    weights[1, first : last + 1] = 1 / (last + 1 - first)
    weights[2, list(numbers)] = 1 / len(numbers)
    return weights


def numbers_at(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Indices of the tokens that are part of a number, separators and minus sign included; "5th" is none.

    >>> numbers_at("So 12 + 5.", [(0, 2), (3, 5), (6, 7), (8, 9), (9, 10)])
    [1, 3]
    """
    numbers = [(number.begin, number.end) for number in numbers_in(text)]
    return [i for i, (a, b) in enumerate(offsets) if any(a < end and b > start for start, end in numbers)]


class CachedReader(Reader):
    """A reader with a cache, so that it reads no text twice before `forget`."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.reasoner, reader.spec, reader.basis)
        self._known: dict[tuple[str, str], Tensor] = {}
        self._used: dict[tuple[str, str], int] = {}  # in which turn each was last asked for
        self._turn = 0
        self.n_read = 0
        """Number of texts read so far."""

    def forget(self, turns: int, most_bytes: int) -> None:
        """Begin another turn, without the texts that none of the last `turns` asked for.

        Args:
            turns: how many turns a text is kept that is not asked for.
            most_bytes: what may be kept; where it is more, nothing is.
        """
        self._turn += 1
        kept = {key for key, turn in self._used.items() if turn >= self._turn - turns}
        if len(kept) * max((states.nbytes for states in self._known.values()), default=0) > most_bytes:
            kept = set()
        self._known = {key: states for key, states in self._known.items() if key in kept}
        self._used = {key: turn for key, turn in self._used.items() if key in kept}

    def _read(self, texts: list[str], questions: list[str] | None) -> Tensor:
        keys = list(zip(texts, questions or [""] * len(texts), strict=True))
        if fresh := [key for key in keys if key not in self._known]:
            after = None if questions is None else [question for _, question in fresh]
            read = super()._read([text for text, _ in fresh], after)
            # Copies: a row would keep the memory of all that were read with it.
            self._known.update((key, row.clone()) for key, row in zip(fresh, read, strict=True))
            self.n_read += len(fresh)
        self._used.update(dict.fromkeys(keys, self._turn))
        return torch.stack([self._known[key] for key in keys])


def before_last_number(text: str) -> str:
    """Cut a text before its last number; a text without one is returned whole.

    >>> before_last_number("12 + 5 = 17.")
    '12 + 5 ='
    """
    numbers = list(numbers_in(text))
    return text[: numbers[-1].begin].rstrip() if numbers else text
