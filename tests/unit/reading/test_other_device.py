"""Reading on a device other than the CPU, without one.

The model is on the meta device, whose tensors have shapes and no values. As with a GPU's, computing with one
of them and one of the CPU is refused: by `Moves`, since torch lets a product of matrices pass. That values
are the same is tested in `tests/gpu`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from reverse_codi.reading import reader as module
from reverse_codi.reading.basis import FeatureBasis
from reverse_codi.reading.reader import Reader
from reverse_codi.reading.shared import SharedReader
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.reading import Point, Prefix, ReadSpec
from tests.fakes import WatchedReasoner
from tests.tiny import make_tiny_reasoner

TEXTS = ["12 + 5 = 17.", "(no step)", "8 - 3 = 5. 1 + 1 = 2."]
DIFFERENT = ["Ann has 12 apples.", "Ben has 9.", "Cy has 4 pens and 3 books."]
# Each text after a question of its own is read in one batch with it; after one that others share, apart.
READINGS: dict[str, tuple[Prefix, Sequence[str]]] = {
    "alone": (Prefix.NONE, DIFFERENT),
    "after questions": (Prefix.QUESTION, DIFFERENT),
    "after one question": (Prefix.QUESTION, DIFFERENT[:1] * 3),
}
META = torch.device("meta")
WIDTH, LAYERS = 32, 3


class Moves(TorchDispatchMode):
    """Refuses what no GPU computes; notes what goes to the meta device and what leaves it, then as zeros."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left: list[tuple[int, ...]] = []
        self.came: list[tuple[int, ...]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].device == META:
            return False  # transformers asks whether a mask is of ones only
        if func is torch.ops.aten._to_copy.default and (to := kwargs.get("device")) is not None:
            if args[0].device == META and to.type == "cpu":
                self.left.append(tuple(args[0].shape))
                return torch.zeros(args[0].shape, dtype=args[0].dtype)
            if args[0].device.type == "cpu" and to == META:
                self.came.append(tuple(args[0].shape))
        elif func is not torch.ops.aten.index.Tensor:  # a GPU takes indices from the CPU
            given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.dim() > 0]
            if len(devices := {x.device.type for x in given}) > 1:
                raise RuntimeError(f"{func} of tensors on {sorted(devices)}")
        return func(*args, **kwargs)


@pytest.fixture(scope="module")
def away() -> CodiReasoner:
    reasoner = make_tiny_reasoner()
    reasoner.model.to(META)
    return reasoner


def basis_of(blocks: int, rank: int) -> FeatureBasis:
    return FeatureBasis(
        torch.zeros(blocks, WIDTH), torch.ones(blocks, WIDTH), torch.ones(blocks, WIDTH, rank)
    )


@pytest.mark.parametrize("of", READINGS)
def test_read_states_stay_where_the_model_is(away: CodiReasoner, of: str) -> None:
    prefix, questions = READINGS[of]
    with Moves() as moves:
        read = away.read(TEXTS, questions if prefix is Prefix.QUESTION else None)
    lengths = [len(away.ids(text)) for text in TEXTS]
    assert [tuple(states.shape) for states in read] == [(LAYERS, n, WIDTH) for n in lengths]
    assert all(states.device == META and states.dtype == torch.float32 for states in read)
    assert moves.left == []


@pytest.mark.parametrize("of", READINGS)
@pytest.mark.parametrize("point", list(Point))
@pytest.mark.parametrize("layers", ["all", "final", "2,0"])
@pytest.mark.parametrize("rank", [None, 5])
def test_only_features_leave_the_device(
    away: CodiReasoner, of: str, point: Point, layers: str, rank: int | None
) -> None:
    prefix, questions = READINGS[of]
    spec = ReadSpec(prefix=prefix, point=point, layers=layers)
    blocks = (4 if point is Point.NUMBERS else 1) * len(spec.layer_indices(LAYERS))
    reader = Reader(away, spec, None if rank is None else basis_of(blocks, rank))
    with Moves() as moves:
        features = reader.features(TEXTS, questions)
    assert moves.left == [(3, blocks * (rank or WIDTH))] == [tuple(features.shape)]
    assert features.device.type == "cpu" and features.dtype == torch.float32


@pytest.mark.parametrize("rank", [None, 5])
def test_points_and_projection_are_computed_where_the_states_are(
    tiny_reasoner: CodiReasoner, rank: int | None
) -> None:
    basis = None if rank is None else basis_of(4 * LAYERS, rank)
    reader = Reader(tiny_reasoner, ReadSpec(point=Point.NUMBERS), basis)
    states = [torch.empty(LAYERS, len(tiny_reasoner.ids(text)), WIDTH, device=META) for text in TEXTS]
    with Moves() as moves:
        blocks = reader.taken(states, TEXTS)
        features = reader._kept(blocks)
    assert moves.left == []
    assert (tuple(blocks.shape), blocks.device) == ((3, 4 * LAYERS, WIDTH), META)
    assert (tuple(features.shape), features.device) == ((3, 4 * LAYERS * (rank or WIDTH)), META)
    assert reader.basis is basis  # which is saved, and stays on the CPU
    assert basis is None or basis.mean.device.type == "cpu"


def test_further_layers_are_kept_there_too(away: CodiReasoner) -> None:
    reader = SharedReader(Reader(away, ReadSpec(layers="2,0"), basis_of(8, 5)), ["1"])
    with Moves() as moves:
        assert reader.features(TEXTS).shape == (3, 40)
        assert reader.layers(TEXTS)[1].shape == (3, 4, WIDTH)
    assert moves.left == [(3, 40 + 4 * WIDTH)]


def test_as_much_goes_there_for_many_texts_as_for_few(away: CodiReasoner) -> None:
    def moved(texts: Sequence[str]) -> int:
        with Moves() as moves:
            Reader(away, ReadSpec(), basis_of(4 * LAYERS, 5)).features(texts)
        return len(moves.came)

    assert moved(["12 + 5 = 17."]) == moved([f"{n} + 5 = {n + 5}." for n in range(8)]) > 0


def test_the_basis_goes_there_once(away: CodiReasoner) -> None:
    reader = Reader(away, ReadSpec(), basis_of(4 * LAYERS, 5))
    with Moves() as moves:
        for text in TEXTS:
            reader.features([text])
    assert moves.came.count((4 * LAYERS, WIDTH, 5)) == 1


def test_a_chunk_may_be_larger_than_on_the_cpu(
    away: CodiReasoner, tiny_reasoner: CodiReasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{n} + 5 = {n + 5}." for n in range(12)]
    of_text = max(states.nbytes for states in tiny_reasoner.read(texts))
    monkeypatch.setattr(module, "CHUNK_BYTES", of_text)
    monkeypatch.setattr(module, "GPU_CHUNK_BYTES", 2 * of_text)
    calls: list[list[int]] = []
    for reasoner in (tiny_reasoner, away):
        watched = WatchedReasoner(reasoner)
        with Moves():
            Reader(watched, ReadSpec()).features(texts)
        calls.append([len(call) for call in watched.calls])
    assert calls == [[8, 1, 1, 1, 1], [8, 2, 2]]


def test_on_the_cpu_states_keep_nothing_of_their_batch(tiny_reasoner: CodiReasoner) -> None:
    for prefix, questions in READINGS.values():
        read: list[Tensor] = tiny_reasoner.read(TEXTS, questions if prefix is Prefix.QUESTION else None)
        assert all(states.untyped_storage().nbytes() == states.nbytes for states in read)
