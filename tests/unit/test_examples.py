"""The scripts of examples/: what they take is what the reasoner thought; their edits move its answer."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reverse_codi import Patch, Reasoner, TraceStore
from reverse_codi.cli.main import main as reverse_codi
from reverse_codi.reasoners.codi import CodiReasoner
from tests.tiny import make_problems, make_sharp_reasoner

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs/vectors.md").read_text()
TRANSLATED = "h0  12 + 5 = 17.  match 0."
FOLLOWED = "The answer is: 17 -> The answer is: 18"
# Rounding: TransformerLens computes attention without torch's fused kernel, for its own hooks.
TOLERANCE = {"with_hooks": 0.0, "with_nnsight": 0.0, "with_transformer_lens": 1e-4}


def script(name: str) -> ModuleType:
    for library in {"with_nnsight": ["nnsight"], "with_transformer_lens": ["transformer_lens"]}.get(name, []):
        pytest.importorskip(library)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Way:
    """One way to take vectors of one reasoner, which may change that reasoner's modules."""

    think: Callable[[str], tuple[Tensor, Tensor, str]]
    answer_with: Callable[[str, int, Tensor], str]


def way(name: str, reasoner: CodiReasoner) -> Way:
    module = script(name)
    bridge: list[Any] = [module.bridge_of(reasoner)] if name == "with_transformer_lens" else []
    return Way(
        lambda question: module.think(reasoner, *bridge, question),
        lambda question, thought, vector: module.answer_with(reasoner, *bridge, question, thought, vector),
    )


@pytest.mark.parametrize("name", TOLERANCE)
def test_the_vectors_taken_are_the_reasoners_own(name: str) -> None:
    own = Reasoner.from_pretrained("embedded")
    assert isinstance(own, CodiReasoner)
    taking = way(name, copy.deepcopy(own))
    for problem in make_problems(3):
        chains = own.think([problem.question])
        states, latent_inputs, answer = taking.think(problem.question)
        for taken, wanted in ((states, chains.hidden_states[0]), (latent_inputs, chains.latent_inputs[0])):
            assert taken.shape == wanted.shape
            assert (taken - wanted).abs().max() <= TOLERANCE[name] * wanted.abs().max()
        assert [answer] == chains.outputs


@pytest.mark.parametrize("name", TOLERANCE)
def test_on_any_other_reasoner_too(name: str) -> None:
    own = make_sharp_reasoner()
    taking = way(name, copy.deepcopy(own))
    question, other = (problem.question for problem in make_problems(2))
    chains, donor = own.think([question]), own.think([other]).latent_inputs
    states, latent_inputs, _ = taking.think(question)
    assert torch.allclose(states, chains.hidden_states[0], rtol=0, atol=1e-3)
    assert torch.allclose(latent_inputs, chains.latent_inputs[0], rtol=0, atol=1e-3)
    for thought in range(own.n_thoughts):  # fed at this thought, and at no other
        patch = Patch(donor, torch.arange(own.n_thoughts)[None] == thought)
        assert [taking.answer_with(question, thought, donor[0, thought])] == own.think(
            [question], patch
        ).outputs


def test_hooks_write_files_that_become_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the page says it: the script, the command, the other script."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/vectors")
    script("with_hooks").main(folder)
    printed = capsys.readouterr().out
    assert TRANSLATED in printed and FOLLOWED in printed
    assert np.load(folder / "h.npy").shape == (1, 5, 160)
    assert json.loads((folder / "rows.jsonl").read_text())["output"] == "The answer is: 17"
    [command] = re.findall(r"```bash\n(reverse-codi trace import.*?)```", PAGE, re.DOTALL)
    reverse_codi(shlex.split(command.replace("\\\n", " "))[1:])
    assert "are not the projection" not in capsys.readouterr().out
    chains = script("from_files").main(folder / "traces")
    printed = capsys.readouterr().out
    assert TRANSLATED in printed and FOLLOWED in printed
    store = TraceStore.open(folder / "traces")
    own = Reasoner.from_pretrained("embedded").think(store.questions)
    assert torch.equal(store.hidden_states, own.hidden_states)
    assert not torch.equal(chains.hidden_states[:, 1], own.hidden_states[:, 1])


@pytest.mark.parametrize("name", ["with_nnsight", "with_transformer_lens"])
def test_the_other_scripts_translate_and_edit(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    script(name).main()
    printed = capsys.readouterr().out
    assert TRANSLATED in printed and FOLLOWED in printed


def test_the_page_has_exactly_the_scripts() -> None:
    blocks = dict(re.findall(r"<!-- examples/(\w+)\.py -->\n```python\n(.*?)```", PAGE, re.DOTALL))
    assert blocks == {path.stem: path.read_text() for path in EXAMPLES.glob("*.py")}
