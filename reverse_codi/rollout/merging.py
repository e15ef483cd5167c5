"""Adapters added into the weights of a base model, which is kept as it is.

Every policy is merged into fresh tensors, so that merging and unmerging cannot accumulate errors.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from reverse_codi.errors import blamed_on
from reverse_codi.reasoners.checkpoints.hugging_face import read_language_model
from reverse_codi.reasoners.sharing import sharing_weights
from reverse_codi.rollout.adapter_config import AdapterError, adapter_config
from reverse_codi.trainers.checkpoints import POLICY_WEIGHTS


class Base:
    """The language model of a folder, which adapters are merged into again and again.

    Its weights are pages of the file, mapped into memory and never written to. They cost no memory of their
    own, and actors on one machine share them.

    Args:
        folder: holds the language model.
        dtype: of merged weights; those of the file may have another.
    """

    def __init__(self, folder: str | Path, dtype: torch.dtype) -> None:
        self._model = read_language_model(Path(folder), dtype="auto").eval().requires_grad_(False)
        self.dtype = dtype
        self._changed: set[str] = set()  # modules that hold a layer which the last adapter changed
        self._kept: tuple[dict[str, Any], PeftModel] | None = None  # the last adapter of `changes`

    def merged(self, adapter: str | Path | None) -> PreTrainedModel:
        """The model with an adapter; it shares with the base every weight that the adapter leaves alone.

        Raises:
            AdapterError: the folder holds no adapter.
            ValueError: the adapter does not fit.
        """
        if adapter is None:
            model = sharing_weights(self._model)
        else:
            wrapped = self._wrapped(adapter)
            for layer in _layers(wrapped).values():
                _merge(layer, self.dtype)
            model = wrapped.unload()
        for weight in model.parameters():  # not the buffers, which keep their precision
            weight.data = weight.data.to(self.dtype)
        return model.eval().requires_grad_(False)

    def changes(self, adapter: str | Path) -> Iterator[tuple[str, Tensor]]:
        """Names and weights that turn a model from the adapter before into this one, one layer at a time.

        vLLM packs some layers into one (q, k and v), and takes only whole ones. So a layer comes with all
        that its module holds beside it.

        Raises:
            AdapterError: the folder holds no adapter.
            ValueError: the adapter does not fit.
        """
        layers = _layers(self._wrapped_again(adapter))
        now = {name.rpartition(".")[0] for name in layers}
        sent, self._changed = now | self._changed, now
        return self._parts(layers, tuple(f"{module}." for module in sent))

    def _parts(self, layers: dict[str, LoraLayer], sent: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
        named = [(name, weight) for name, weight in self._model.named_parameters() if name.startswith(sent)]
        for owner, parts in itertools.groupby(named, lambda part: part[0].rpartition(".")[0]):
            merged = {}
            if owner in layers:
                merged = {f"{owner}.weight": _sum(layers[owner], self.dtype)}
            for name, weight in parts:
                yield name, merged.pop(name, weight).detach().to(self.dtype)

    def _wrapped_again(self, adapter: str | Path) -> PeftModel:
        """As `_wrapped`; of one configuration after the other only the tensors are read.

        PEFT takes longer to build its layers than to read and merge them (SmolLM2-135M).
        """
        config = adapter_config(adapter)
        if self._kept is None or self._kept[0] != config:
            self._kept = config, self._wrapped(adapter)
            return self._kept[1]
        peft = self._kept[1]
        with blamed_on(adapter, AdapterError, "fetch it again, or train it on this model"):
            tensors = load_file(Path(adapter) / POLICY_WEIGHTS)
            _check_names(adapter, set(tensors), peft)
            set_peft_model_state_dict(peft, tensors)
        return peft

    def _wrapped(self, adapter: str | Path) -> PeftModel:
        """The base's own weights with an adapter beside them.

        Raises:
            ValueError: the adapter's tensors do not fit its configuration (PEFT would only warn, and the
                policy would silently be the base model).
        """
        adapter_config(adapter)
        with warnings.catch_warnings():  # GPT-2's layers hold transposed weights, which PEFT finds out itself
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
            with blamed_on(adapter, AdapterError, "fetch it again, or train it on this model"):
                peft = PeftModel.from_pretrained(
                    sharing_weights(self._model), str(adapter), low_cpu_mem_usage=True
                )
                with safe_open(Path(adapter) / POLICY_WEIGHTS, "pt") as file:
                    stored = set(file.keys())
        _check_names(adapter, stored, peft)
        return peft


def _check_names(adapter: str | Path, stored: set[str], peft: PeftModel) -> None:
    """Refuse an adapter whose tensors are not those of its configuration."""
    # Else PEFT looks for the base that the adapter names, on the hub too.
    wanted = set(get_peft_model_state_dict(peft, save_embedding_layers=False))
    if stored != wanted:
        missing, unknown = sorted(wanted - stored), sorted(stored - wanted)
        raise AdapterError(f"{adapter} does not fit the base model: missing {missing}, unknown {unknown}")


def _layers(peft: PeftModel) -> dict[str, LoraLayer]:
    """The layers that have an adapter, by their names in the base model."""
    modules = peft.get_base_model().named_modules()
    return {name: module for name, module in modules if isinstance(module, LoraLayer)}


@torch.no_grad()
def _sum(layer: Any, dtype: torch.dtype) -> Tensor:
    """The weights of one layer with its adapter, in `dtype`; the layer stays as it is."""
    weight: Tensor = layer.get_base_layer().weight.to(dtype, copy=True)
    return weight.add_(layer.get_delta_weight("default"))


def _merge(layer: LoraLayer, dtype: torch.dtype) -> None:
    """Merge one layer's adapter into a copy of its weights in `dtype`."""
    base = layer.get_base_layer()
    for name, weight in list(base.named_parameters()):
        setattr(base, name, nn.Parameter(weight.detach().to(dtype, copy=True), requires_grad=False))
    layer.merge()
