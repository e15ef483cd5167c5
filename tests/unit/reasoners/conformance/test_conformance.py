"""Every backend: thinking, reading, answering with replaced thoughts, and what all else relies on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reverse_codi.reasoners.base import Patch
from reverse_codi.reasoners.checkpoints.errors import CheckpointError
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import load_reasoner
from reverse_codi.reasoners.plain_text import decoded_answer
from reverse_codi.recipe.reasoner import Source
from tests.unit.reasoners.conformance.layouts import ALPHA, CASES, QUESTIONS, RANK, Case, K
from tests.unit.reasoners.conformance.reference import Chain, Reference

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@dataclass(frozen=True)
class Backend:
    """A checkpoint, the reasoner loaded from it, and the second implementation."""

    case: Case
    reasoner: CodiReasoner
    reference: Reference

    def asked(self, question: str) -> list[int]:
        """The ids of a question up to bot, spelt out layout by layout."""
        tokenizer, config = self.reasoner.tokenizer, self.reasoner.config
        if self.case.name == "own":
            return [*tokenizer(question).input_ids, config.bot_id]
        if self.case.name == "coconut":
            return [
                *tokenizer(question + "\n").input_ids,
                tokenizer.convert_tokens_to_ids("<|start-latent|>"),
            ]
        if self.case.name == "codi-tokens":
            asked = tokenizer(f"{question} Give the answer only and nothing else.").input_ids
            return [*asked, tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|bocot|>")]
        return [*tokenizer(question).input_ids, len(self.reference.table) - 2]

    @property
    def eot(self) -> int:
        """The id after the thoughts."""
        names = {"coconut": "<|end-latent|>", "codi-tokens": "<|eocot|>"}
        if self.case.name in names:
            return int(self.reasoner.tokenizer.convert_tokens_to_ids(names[self.case.name]))
        return len(self.reference.table) - 1

    def chain(self, question: str) -> Chain:
        """How the second implementation thinks."""
        # The codes of both CODI layouts take the best of all ids but the table's last.
        never = (len(self.reference.table) - 1,) if self.case.name.startswith("codi") else ()
        stop = self.reasoner.tokenizer.eos_token_id
        return self.reference.chain(self.asked(question), self.eot, K, stop, 5, never)


@pytest.fixture(scope="module", params=CASES)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    case = CASES[request.param](tmp_path_factory.mktemp(request.param))
    loaded = load_reasoner(case.source)
    # Short answers: the second implementation recomputes everything at each token.
    reasoner = CodiReasoner(loaded.model, loaded.tokenizer, replace(loaded.config, max_answer_tokens=5))
    return Backend(case, reasoner, Reference(case, ALPHA / RANK))


@torch.no_grad()
def test_thinks_and_answers_as_a_second_implementation(backend: Backend) -> None:
    chains = backend.reasoner.think(QUESTIONS)
    assert chains.hidden_states.shape == (len(QUESTIONS), K + 1, backend.reasoner.width)
    for row, question in enumerate(QUESTIONS):
        wanted = backend.chain(question)
        torch.testing.assert_close(chains.hidden_states[row], wanted.hidden_states, **CLOSE)
        torch.testing.assert_close(chains.latent_inputs[row], wanted.latent_inputs, **CLOSE)
        assert chains.outputs[row] == decoded_answer(backend.reasoner.tokenizer, wanted.answer)


@torch.no_grad()
def test_states_at_the_cue_are_those_of_a_second_implementation(backend: Backend) -> None:
    [state] = backend.reasoner.answer_states(QUESTIONS[:1])
    tokenizer = backend.reasoner.tokenizer
    cue = {"coconut": "###", "codi-tokens": ""}.get(backend.case.name, "The answer is:")
    ids = tokenizer(cue, add_special_tokens=False).input_ids
    if cue and tokenizer.bos_token:  # Llama's: the blank before the number is a token
        ids += tokenizer(" ", add_special_tokens=False).input_ids
    embeds = torch.cat([backend.chain(QUESTIONS[0]).embeds, backend.reference.table[[backend.eot, *ids]]])
    torch.testing.assert_close(state, backend.reference.layers(embeds)[-1, -1], **CLOSE)


@torch.no_grad()
def test_reads_as_a_second_implementation(backend: Backend) -> None:
    reasoner, text, question = backend.reasoner, "12 + 5 = 17", QUESTIONS[0]
    begin = [] if reasoner.tokenizer.bos_token is None else [reasoner.tokenizer.bos_token_id]
    ids = reasoner.tokenizer(text, add_special_tokens=False).input_ids
    [alone], [after] = reasoner.read([text]), reasoner.read([text], [question])
    wanted = backend.reference.layers(backend.reference.table[[*begin, *ids]])
    torch.testing.assert_close(alone, wanted[:, len(begin) :], **CLOSE)
    # Written steps follow the question where thoughts would; only codi-tokens writes them after bot.
    before = backend.asked(question)
    before = before if backend.case.name == "codi-tokens" else before[:-1]
    wanted = backend.reference.layers(backend.reference.table[[*before, *ids]])
    torch.testing.assert_close(after, wanted[:, len(before) :], **CLOSE)
    logits = (wanted[-1, len(before) - 1 : -1] @ backend.reference.table.T).log_softmax(-1)
    nll = -logits.gather(1, torch.tensor(ids)[:, None]).mean()
    torch.testing.assert_close(reasoner.nll([text], [question])[0], nll, **CLOSE)


@torch.no_grad()
def test_writes_on_from_where_a_solution_was_begun(backend: Backend) -> None:
    reasoner = backend.reasoner
    short = CodiReasoner(reasoner.model, reasoner.tokenizer, replace(reasoner.config, max_written_tokens=4))
    before = backend.asked(QUESTIONS[0])
    ids = (before if backend.case.name == "codi-tokens" else before[:-1]) + reasoner.ids("12 +")
    written: list[int] = []
    for _ in range(4):
        token = int(
            (
                backend.reference.layers(backend.reference.table[ids + written])[-1, -1]
                @ backend.reference.table.T
            ).argmax()
        )
        if token == reasoner.tokenizer.eos_token_id:
            break
        written.append(token)
    assert short.write(QUESTIONS[:1], ["12 +"]) == [decoded_answer(reasoner.tokenizer, written)]


def test_results_do_not_depend_on_the_batch(backend: Backend) -> None:
    together = backend.reasoner.think(QUESTIONS)
    states, texts = backend.reasoner.answer_states(QUESTIONS), ["12 + 5 = 17", "3", ""]
    read = backend.reasoner.read(texts)
    for row in reversed(range(len(QUESTIONS))):
        alone = backend.reasoner.think([QUESTIONS[row]])
        torch.testing.assert_close(alone.hidden_states[0], together.hidden_states[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(alone.latent_inputs[0], together.latent_inputs[row], atol=1e-5, rtol=1e-5)
        assert alone.outputs[0] == together.outputs[row]
        torch.testing.assert_close(
            backend.reasoner.answer_states([QUESTIONS[row]])[0], states[row], atol=1e-5, rtol=1e-5
        )
        torch.testing.assert_close(backend.reasoner.read([texts[row]])[0], read[row], atol=1e-5, rtol=1e-5)


def test_is_deterministic_and_in_evaluation_mode(backend: Backend) -> None:
    first, second = backend.reasoner.think(QUESTIONS), backend.reasoner.think(QUESTIONS)
    assert torch.equal(first.hidden_states, second.hidden_states)
    assert first.outputs == second.outputs
    assert not any(module.training for module in backend.reasoner.model.modules())
    assert not first.hidden_states.requires_grad


def test_answers_with_replaced_thoughts(backend: Backend) -> None:
    chains = backend.reasoner.think(QUESTIONS)
    same = backend.reasoner.think(QUESTIONS, Patch.all(chains.latent_inputs))
    torch.testing.assert_close(same.hidden_states, chains.hidden_states, atol=1e-5, rtol=1e-5)
    assert same.outputs == chains.outputs
    where = torch.zeros(chains.latent_inputs.shape[:2], dtype=torch.bool)
    where[:, 1] = True
    other = backend.reasoner.think(QUESTIONS, Patch(chains.latent_inputs.flip(0), where))
    torch.testing.assert_close(other.latent_inputs[:, 1], chains.latent_inputs.flip(0)[:, 1])
    torch.testing.assert_close(other.hidden_states[:, :2], chains.hidden_states[:, :2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(other.hidden_states[0, 2:], chains.hidden_states[0, 2:], atol=1e-3)
    assert backend.reasoner.think(QUESTIONS, n_thoughts=1).latent_inputs.shape[1] == 1


@torch.no_grad()
def test_projects_and_looks_through_the_logit_lens(backend: Backend) -> None:
    chains = backend.reasoner.think(QUESTIONS[:1])
    torch.testing.assert_close(
        backend.reasoner.project(chains.hidden_states[:, :-1]), chains.latent_inputs, **CLOSE
    )
    lens = backend.reasoner.logits(chains.hidden_states)
    torch.testing.assert_close(lens, chains.hidden_states @ backend.reference.table.T, **CLOSE)


def test_saved_and_loaded_it_is_the_same(backend: Backend, tmp_path: Path) -> None:
    backend.reasoner.save_pretrained(tmp_path)
    again = load_reasoner(tmp_path)
    assert again.content_hash == backend.reasoner.content_hash
    assert again.tokenizer_hash == backend.reasoner.tokenizer_hash
    assert again.config == backend.reasoner.config
    assert torch.equal(again.think(QUESTIONS).hidden_states, backend.reasoner.think(QUESTIONS).hidden_states)


def test_half_precision_gives_float32_vectors_on_the_cpu(backend: Backend) -> None:
    source = backend.case.source
    if backend.case.name == "own":  # keeps the type that it was saved with
        reasoner = load_reasoner(source)
        reasoner.model.to(torch.bfloat16)
    else:
        reasoner = load_reasoner(source.model_copy(update={"dtype": "bfloat16"}))
    assert {weight.dtype for weight in reasoner.model.parameters()} == {torch.bfloat16}
    short = CodiReasoner(reasoner.model, reasoner.tokenizer, backend.reasoner.config)
    chains, full = short.think(QUESTIONS), backend.reasoner.think(QUESTIONS)
    assert (chains.hidden_states.dtype, chains.hidden_states.device.type) == (torch.float32, "cpu")
    near = torch.cosine_similarity(chains.hidden_states[:, 0], full.hidden_states[:, 0])
    assert near.min() > 0.98
    assert (
        short.project(chains.hidden_states).dtype == short.logits(chains.hidden_states).dtype == torch.float32
    )
    assert short.answer_states(QUESTIONS).dtype == short.read(["12"])[0].dtype == torch.float32


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        pytest.param("missing", "is missing", id="missing"),
        pytest.param("extra", "ghost", id="extra"),
        pytest.param("shape", r"has shape \(3, 3\), not", id="shape"),
        pytest.param("cut", "is cut off", id="cut"),
    ],
)
def test_strict_keys(backend: Backend, tmp_path: Path, break_it: str, message: str) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in Path(backend.case.source.path).iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    case = replace(backend.case, source=backend.case.source.model_copy(update={"path": str(folder)}))
    name = next(
        name for name in case.tensors if (name.startswith(case.prefix) and "norm" in name) or ".ln_1." in name
    )
    tensors = {key: tensor for key, tensor in case.tensors.items() if case.name != "own" or "prj." not in key}
    if break_it == "cut":
        case.file.write_bytes(case.file.read_bytes()[:-200])
        name = case.file.name
    else:
        if break_it == "missing":
            del tensors[name]
        elif break_it == "shape":
            tensors[name] = torch.zeros(3, 3)
        else:
            name = f"{case.prefix}ghost"
            tensors[name] = torch.zeros(2)
        file = case.file
        if file.suffix == ".safetensors":
            save_file(tensors, file)
        else:
            torch.save(tensors, file)
    with pytest.raises(CheckpointError, match=message) as error:
        load_reasoner(case.source)
    assert name in str(error.value)
    assert str(folder) in str(error.value)
    converted = Path(case.source.converted)
    assert not any(folder.name in made.name for made in converted.glob("broken*"))


def test_the_device_is_where_the_weights_go(backend: Backend) -> None:
    assert backend.reasoner.device.type == "cpu"
    if torch.cuda.is_available():
        source: Source = backend.case.source
        there = load_reasoner(source, "cuda")
        chains = there.think(QUESTIONS[:1])
        assert chains.hidden_states.device.type == "cpu"
        torch.testing.assert_close(
            chains.hidden_states, backend.reasoner.think(QUESTIONS[:1]).hidden_states, atol=1e-2, rtol=1e-2
        )
