from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import PeftModel
from safetensors.torch import load_file, save_file

from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.recipe.rollout import EngineConfig
from reverse_codi.rollout.transformers_engine import TransformersEngine
from reverse_codi.training.sync import Canary, CanaryError, PolicySync, beginnings
from reverse_codi.utils.finite import NotFiniteError
from reverse_codi.verbalize.policy import Policy
from tests.tiny import make_tiny_policy, stir


class OneEnginePool:
    """A rollout pool in this process; `deaf` engines acknowledge a sync that they do not make."""

    def __init__(self, base: Path, deaf: bool = False) -> None:
        self.engine = TransformersEngine(base, EngineConfig(kind="transformers"))
        self.policy_version: int | None = 0
        self.deaf = deaf
        self.synced: list[Path] = []

    def sync(self, adapter: Path, version: int) -> None:
        self.synced.append(adapter)
        if not self.deaf:
            self.engine.load_policy(adapter, version)
        self.policy_version = version

    def begin_sync(self, adapter: Path, version: int) -> Callable[[], None]:
        self.sync(adapter, version)
        self.policy_version = None

        def loaded() -> None:
            assert adapter.is_dir()
            self.policy_version = version

        return loaded

    def begin_score(
        self, prompts: Sequence[torch.Tensor], completions: Sequence[Sequence[int]], temperature: float
    ) -> Callable[[], list[list[NDArray[np.float32]]]]:
        return lambda: [self.engine.score(prompts, completions, temperature)]


@pytest.fixture
def policy(tiny_reasoner: CodiReasoner) -> Iterator[Policy]:
    made = make_tiny_policy(tiny_reasoner)
    stir(made)
    with made.embedding.bank(torch.randn(4, 32, generator=torch.Generator().manual_seed(0))):
        yield made


def make_sync(policy: Policy, reasoner: CodiReasoner, pool: OneEnginePool, folder: Path) -> PolicySync:
    texts = [reasoner.ids(text) for text in ("12 + 5 = 17.", "(no step)", "8 - 3 = 5.", "3 + 3 = 6.")]
    prompts = policy.prompts([[row] for row in range(4)])
    return PolicySync(policy, pool, folder, Canary(prompts, beginnings(texts, 24), 0.7, 0.05))  # type: ignore[arg-type]


def test_the_probe_is_one_whole_text_and_the_beginnings_of_others() -> None:
    texts = [list(range(30)), list(range(7)), [5, 6]]
    assert [len(ids) for ids in beginnings(texts, 24)] == [24, 4, 2]
    assert [len(ids) for ids in beginnings(texts, 3)] == [3, 3, 2]


def test_a_synced_engine_agrees_and_old_versions_go(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = OneEnginePool(tiny_folders[0])
    sync = make_sync(policy, tiny_reasoner, pool, tmp_path)
    policy.model.train()
    assert sync(0) == 1
    assert sync.difference < 1e-4
    assert policy.model.training  # as it was
    assert sync(0) == 1
    assert len(pool.synced) == 1  # nothing new to bring
    stir(policy, seed=1)
    assert sync(1) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["v000002"]
    assert sync.difference < 1e-4


def test_what_was_begun_is_compared_later_with_the_weights_that_were_sent(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = OneEnginePool(tiny_folders[0])
    sync = make_sync(policy, tiny_reasoner, pool, tmp_path)
    sync(0)
    stir(policy, seed=1)
    assert sync.begin(1) == 2
    stir(policy, seed=2)  # the trainer learns on
    assert pool.policy_version is None
    # An actor that dies now loads the version before again.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v000001", "v000002"]
    sync.check()
    assert pool.policy_version == 2
    assert sync.difference < 1e-4
    assert [path.name for path in tmp_path.iterdir()] == ["v000002"]
    sync.difference = 9.0
    sync.check()  # nothing is left to compare
    assert sync.difference == 9.0


def test_a_deaf_engine_is_found_at_the_next_sync_at_the_latest(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = OneEnginePool(tiny_folders[0], deaf=True)
    sync = make_sync(policy, tiny_reasoner, pool, tmp_path)
    sync.begin(0)
    with pytest.raises(CanaryError, match=r"rollout actor 0 differs .*policy 1"):
        sync.begin(1)
    assert len(pool.synced) == 1


def test_texts_of_any_lengths_are_compared_one_by_one(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sync = make_sync(policy, tiny_reasoner, OneEnginePool(tiny_folders[0]), tmp_path)
    texts = [ids[:n] for ids, n in zip(sync.probe.texts, (6, 4, 2, 4), strict=True)]
    sync.probe = dataclasses.replace(sync.probe, texts=texts)
    embeds = [policy.embedding.of(ids) for ids in sync.probe.prompts]
    engine = sync.pool.engine  # type: ignore[attr-defined]
    policy.save(tmp_path / "now")
    engine.load_policy(tmp_path / "now", 1)
    each = [engine.score([head], [text], 0.7)[0] for head, text in zip(embeds, sync.probe.texts, strict=True)]
    np.testing.assert_allclose(sync._trainer_logprobs(), np.concatenate(each), atol=1e-4)


def test_an_engine_with_other_weights_stops_the_run(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sync = make_sync(policy, tiny_reasoner, OneEnginePool(tiny_folders[0], deaf=True), tmp_path)
    with pytest.raises(CanaryError, match=r"rollout actor 0 differs from the trainer by \d.*policy 1"):
        sync(0)
    assert sync.difference > 0.05


def test_a_stale_engine_is_found_too(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = OneEnginePool(tiny_folders[0])
    sync = make_sync(policy, tiny_reasoner, pool, tmp_path)
    sync(0)
    pool.deaf = True
    stir(policy, seed=1)
    with pytest.raises(CanaryError, match="sync to policy 2"):
        sync(1)


def test_a_version_that_cannot_be_written_leaves_nothing(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = OneEnginePool(tiny_folders[0])
    sync = make_sync(policy, tiny_reasoner, pool, tmp_path)
    sync(0)

    def full(folder: Path) -> None:
        (folder / "adapter_model.safetensors").write_bytes(b"half")
        raise OSError("no space left")

    policy.save = full  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="no space"):
        sync(1)
    assert [folder.name for folder in tmp_path.iterdir()] == ["v000001"]
    assert pool.policy_version == 1


def spoil(policy: Policy) -> None:
    with torch.no_grad():
        next(w for name, w in policy.model.named_parameters() if "v_proj.lora_B" in name).fill_(torch.nan)


def test_a_policy_of_nan_is_no_agreement(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sync = make_sync(policy, tiny_reasoner, OneEnginePool(tiny_folders[0]), tmp_path)
    sync(2)
    spoil(policy)
    with pytest.raises(
        NotFiniteError, match=r"after 3 optimizer steps the policy's log-probabilities are not"
    ):
        sync(3)


def test_an_engine_of_nan_is_found_though_only_one_text_shows_it(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    class Blind(OneEnginePool):
        def begin_score(self, *given: Any) -> Callable[[], list[list[NDArray[np.float32]]]]:
            [scores] = super().begin_score(*given)()
            scores[1][0] = np.nan  # Python's max over texts would lose it: max(0.0, nan) is 0.0
            return lambda: [scores]

    sync = make_sync(policy, tiny_reasoner, Blind(tiny_folders[0]), tmp_path)
    with pytest.raises(CanaryError, match="differs from the trainer by nan nats"):
        sync(0)
    assert np.isnan(sync.difference)


# ---- broken on purpose: each is caught at the sync where it happens

SMALL = 0.002  # the probe changes by less than the tolerance


class Unloaded(OneEnginePool):
    """Acknowledges, and serves the base."""

    def sync(self, adapter: Path, version: int) -> None:
        self.policy_version = version


class LoadedTwice(OneEnginePool):
    def sync(self, adapter: Path, version: int) -> None:
        super().sync(adapter, version)
        twice = PeftModel.from_pretrained(self.engine.model, str(adapter))  # type: ignore[arg-type]
        self.engine.model = twice.merge_and_unload()


class OtherScale(OneEnginePool):
    """Reads another lora_alpha than was written."""

    def sync(self, adapter: Path, version: int) -> None:
        copy = adapter.with_name(f"copy-{version}")
        shutil.copytree(adapter, copy)
        config = json.loads((copy / "adapter_config.json").read_text())
        (copy / "adapter_config.json").write_text(
            json.dumps({**config, "lora_alpha": config["lora_alpha"] / 2})
        )
        (copy / "checksums.json").unlink()
        super().sync(copy, version)


class Corrupt(OneEnginePool):
    """Reads weights whose exponents have flipped bits."""

    def sync(self, adapter: Path, version: int) -> None:
        copy = adapter.with_name(f"copy-{version}")
        shutil.copytree(adapter, copy)
        weights = load_file(copy / "adapter_model.safetensors")
        for weight in weights.values():
            bits = weight.view(torch.int32)
            bits ^= 1 << 27
        save_file(weights, copy / "adapter_model.safetensors")
        (copy / "checksums.json").unlink()
        super().sync(copy, version)


@pytest.mark.parametrize("size", [SMALL, 0.3])
@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (Unloaded, "serves the model without the adapter"),
        (LoadedTwice, r"applies (1[89]\d|2[01]\d)% of the adapter"),
        (OtherScale, r"applies (4[5-9]|5[0-5])% of the adapter"),
    ],
)
def test_an_adapter_that_is_not_applied_as_it_is_is_caught_at_once(
    policy: Policy,
    tiny_reasoner: CodiReasoner,
    tiny_folders: tuple[Path, Path],
    tmp_path: Path,
    pool: type[OneEnginePool],
    words: str,
    size: float,
) -> None:
    stir(policy, size=size)
    sync = make_sync(policy, tiny_reasoner, pool(tiny_folders[0]), tmp_path)
    said = f"rollout actor 0 does not serve policy 4, which it acknowledged: .*{words}"
    with pytest.raises(CanaryError, match=said if size == SMALL else "rollout actor 0 .*policy 4"):
        sync(3)
    assert (sync.difference < sync.probe.tolerance) == (size == SMALL)


def test_an_old_policy_is_caught_after_a_step_that_changes_little(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    pool = OneEnginePool(tiny_folders[0])
    sync = make_sync(policy, tiny_reasoner, pool, tmp_path)
    sync(0)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight += 1e-3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(7))
    pool.deaf = True
    with pytest.raises(
        CanaryError, match=r"actor 0 does not serve policy 2.* 100% of the change since policy 1 is missing"
    ):
        sync(1)
    assert sync.difference < 0.01


def test_corrupt_weights_are_caught(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sync = make_sync(policy, tiny_reasoner, Corrupt(tiny_folders[0]), tmp_path)
    with pytest.raises(CanaryError, match=r"rollout actor 0 .*policy 1"):
        sync(0)


def test_a_run_of_many_small_steps_accuses_nobody(
    policy: Policy, tiny_reasoner: CodiReasoner, tiny_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    sync = make_sync(policy, tiny_reasoner, OneEnginePool(tiny_folders[0]), tmp_path)
    noise = torch.Generator().manual_seed(3)
    for step in range(20):
        sync(step)
        with torch.no_grad():
            for name, weight in policy.model.named_parameters():
                if "lora_B" in name:
                    weight += 10.0 ** -(1 + step % 6) * torch.randn(weight.shape, generator=noise)
