"""One reading of each text for all rewards of a step.

Shapes: N texts, F features, P points of the ReadSpec, L layers that are read, d width.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from reverse_codi.reading.reader import CachedReader, Reader
from reverse_codi.recipe.reading import Point


class SharedReader(CachedReader):
    """A cached reader that keeps more layers than its ReadSpec names and serves several threads.

    Args:
        reader: its ReadSpec decides what `features` returns.
        layers: further layers to keep, each written as in a ReadSpec.
    """

    def __init__(self, reader: Reader, layers: Iterable[str] = ()) -> None:
        super().__init__(reader)
        self._further = [reader.spec.model_copy(update={"layers": given}) for given in layers]
        self._own: list[int] = []
        self._asked: list[int] = []
        self._read_layers: list[int] = []
        # Two threads that miss the same text would both read it.
        self._lock = threading.Lock()

    def features(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> Tensor:
        """See `Reader.features`; only the ReadSpec's layers."""
        read = self._all(texts, questions)
        if self.basis is not None:
            return read[:, : self.basis.n_features]
        if self._own == self._read_layers:
            return read
        return self._apart(read)[:, :, [self._read_layers.index(layer) for layer in self._own]].flatten(1)

    def layers(self, texts: Sequence[str], questions: Sequence[str] | None = None) -> dict[int, Tensor]:
        """The states [N, P, d] of texts at each layer that is kept (0: embeddings)."""
        read = self._apart(self._all(texts, questions))
        return {layer: read[:, :, place] for place, layer in enumerate(self._whole)}

    def _all(self, texts: Sequence[str], questions: Sequence[str] | None) -> Tensor:
        with self._lock:
            return super().features(texts, questions)

    @property
    def _whole(self) -> list[int]:
        """The layers whose states are kept as they are: with a basis only those that were asked for."""
        return self._read_layers if self.basis is None else self._asked

    def _apart(self, read: Tensor) -> Tensor:
        """The states [N, P, L, d] that are kept whole."""
        first = 0 if self.basis is None else self.basis.n_features
        return read[:, first:].view(len(read), self._points, len(self._whole), -1)

    @property
    def _points(self) -> int:
        return 4 if self.spec.point is Point.NUMBERS else 1

    def _kept(self, blocks: Tensor) -> Tensor:
        """The features and the further layers of blocks [N, P * L, d], one behind the other."""
        if self.basis is None:
            return blocks.flatten(1)
        apart = blocks.unflatten(1, (self._points, -1))  # [N, P, L, d]
        own, further = (
            apart[:, :, [self._read_layers.index(layer) for layer in layers]].flatten(1, 2)
            for layers in (self._own, self._asked)
        )
        return torch.cat([self._projected(own), further.flatten(1)], 1)

    def _chosen(self, n_layers: int) -> list[int]:
        self._own = self.spec.layer_indices(n_layers)
        self._asked = sorted({layer for spec in self._further for layer in spec.layer_indices(n_layers)})
        self._read_layers = sorted({*self._own, *self._asked})
        return self._read_layers
