from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from reverse_codi.errors import UserError
from reverse_codi.reasoners.base import Patch
from reverse_codi.reasoners.codi import PROJECTION_FILE, CheckpointError, CodiReasoner
from reverse_codi.reasoners.sites import Site
from tests.tiny import make_problems, make_tiny_reasoner

QUESTIONS = [p.question for p in make_problems(7)]


def test_thinking_does_not_depend_on_batch_composition(tiny_reasoner: CodiReasoner) -> None:
    together = tiny_reasoner.think(QUESTIONS)
    alone = [tiny_reasoner.think([question]) for question in QUESTIONS]
    hidden_states = torch.cat([chains.hidden_states for chains in alone])
    latent_inputs = torch.cat([chains.latent_inputs for chains in alone])
    assert torch.allclose(together.hidden_states, hidden_states, atol=1e-5)
    assert torch.allclose(together.latent_inputs, latent_inputs, atol=1e-5)
    assert together.outputs == [chains.outputs[0] for chains in alone]


def test_thinking_equals_a_straight_loop_without_cache(tiny_reasoner: CodiReasoner) -> None:
    model = tiny_reasoner.model
    chains = tiny_reasoner.think(QUESTIONS[:2])
    for row, question in enumerate(QUESTIONS[:2]):
        embeds = model.embed(torch.tensor([[*tiny_reasoner.ids(question), model.bot_id]]))
        for k in range(tiny_reasoner.n_thoughts + 1):
            h = model.lm.base_model(inputs_embeds=embeds).last_hidden_state[:, -1]
            assert torch.allclose(chains.hidden_states[row, k], h[0], atol=1e-5)
            if k < tiny_reasoner.n_thoughts:
                z = model.prj(h)
                assert torch.allclose(chains.latent_inputs[row, k], z[0], atol=1e-5)
                embeds = torch.cat([embeds, z[:, None]], 1)


def test_answer_states_equal_one_forward_pass_over_all_that_was_fed(tiny_reasoner: CodiReasoner) -> None:
    model = tiny_reasoner.model
    chains, states = tiny_reasoner.think(QUESTIONS), tiny_reasoner.answer_states(QUESTIONS)
    for row, question in enumerate(QUESTIONS):
        before = model.embed(torch.tensor([*tiny_reasoner.ids(question), model.bot_id]))
        after = model.embed(torch.tensor([model.eot_id, *tiny_reasoner.ids("The answer is:")]))
        embeds = torch.cat([before, chains.latent_inputs[row], after])[None]
        h = model.lm.base_model(inputs_embeds=embeds).last_hidden_state[0, -1]
        assert torch.allclose(states[row], h, atol=1e-5)


def test_own_thoughts_put_back_change_nothing(tiny_reasoner: CodiReasoner) -> None:
    chains = tiny_reasoner.think(QUESTIONS)
    again = tiny_reasoner.think(QUESTIONS, Patch.all(chains.latent_inputs))
    assert torch.allclose(chains.hidden_states, again.hidden_states, atol=1e-5)
    assert chains.outputs == again.outputs


def test_a_replaced_thought_changes_what_comes_after_it_only(tiny_reasoner: CodiReasoner) -> None:
    chains = tiny_reasoner.think(QUESTIONS)
    where = torch.zeros(chains.latent_inputs.shape[:2], dtype=torch.bool)
    where[:, 1] = True
    patched = tiny_reasoner.think(QUESTIONS, Patch(torch.zeros_like(chains.latent_inputs), where))
    assert torch.equal(patched.at(Site("z", 1)), torch.zeros_like(chains.latent_inputs[:, 1]))
    assert torch.allclose(patched.hidden_states[:, :2], chains.hidden_states[:, :2], atol=1e-6)
    assert not torch.allclose(patched.hidden_states[:, 2], chains.hidden_states[:, 2], atol=1e-3)
    assert not torch.allclose(patched.latent_inputs[:, 2], chains.latent_inputs[:, 2], atol=1e-3)


def test_reading_does_not_depend_on_batch_composition(tiny_reasoner: CodiReasoner) -> None:
    texts = ["12 + 5 = 17.", "3 * 4 = 12. 12 - 5 = 7.", ""]
    together = tiny_reasoner.read(texts)
    for text, states in zip(texts, together, strict=True):
        [alone] = tiny_reasoner.read([text])
        assert states.shape == (3, max(1, len(tiny_reasoner.ids(text))), 32)
        assert torch.allclose(states, alone, atol=1e-5)


def test_reading_after_a_question_returns_the_states_of_the_text_only(tiny_reasoner: CodiReasoner) -> None:
    text, question = "12 + 5 = 17.", QUESTIONS[0]
    [states] = tiny_reasoner.read([text], [question], suffix="The answer is:")
    ids = torch.tensor([tiny_reasoner.ids(f"{question} {text} The answer is:")])
    full = tiny_reasoner.lm.base_model(input_ids=ids).last_hidden_state[0]
    assert torch.allclose(states[-1], full[len(tiny_reasoner.ids(question)) :], atol=1e-5)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    tiny_reasoner = make_tiny_reasoner()
    tiny_reasoner.save_pretrained(tmp_path)
    loaded = CodiReasoner.from_pretrained(tmp_path)
    assert loaded.content_hash == tiny_reasoner.content_hash
    assert loaded.tokenizer_hash == tiny_reasoner.tokenizer_hash
    assert torch.equal(loaded.think(QUESTIONS).hidden_states, tiny_reasoner.think(QUESTIONS).hidden_states)
    assert not loaded.model.training


def test_it_knows_the_folder_that_it_was_saved_to_or_loaded_from(tmp_path: Path) -> None:
    reasoner = make_tiny_reasoner()
    assert reasoner.path is None
    with pytest.raises(UserError, match=r"never saved.*call reasoner\.save_pretrained\(folder\) first"):
        reasoner.saved_path()
    reasoner.save_pretrained(str(tmp_path / "one"))
    assert reasoner.path == reasoner.saved_path() == tmp_path / "one"
    assert CodiReasoner.from_pretrained(str(tmp_path / "one")).path == tmp_path / "one"


def test_the_hash_moves_with_any_weight() -> None:
    assert make_tiny_reasoner(seed=0).content_hash == make_tiny_reasoner(seed=0).content_hash
    assert make_tiny_reasoner(seed=0).content_hash != make_tiny_reasoner(seed=1).content_hash


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        (lambda t: t.pop("ln.bias"), "ln.bias is missing"),
        (lambda t: t.update({"ghost": torch.zeros(2)}), "ghost is unknown"),
        (lambda t: t.update({"ln.bias": torch.zeros(2)}), r"ln.bias has shape \(2,\), not \(32,\)"),
    ],
)
def test_a_broken_projection_is_named(tmp_path: Path, fix, message: str) -> None:
    make_tiny_reasoner().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / PROJECTION_FILE)
    fix(tensors)
    save_file(tensors, tmp_path / PROJECTION_FILE)
    with pytest.raises(CheckpointError, match=message):
        CodiReasoner.from_pretrained(tmp_path)


def test_a_folder_without_a_reasoner_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no CODI reasoner"):
        CodiReasoner.from_pretrained(tmp_path)


def test_a_question_that_several_texts_share_is_read_once_and_leaves_the_same_states(
    tiny_reasoner: CodiReasoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["Ann has 3 cups and finds 4.", "Ann has 3.", "Bob had 12 cups. Then he lost 5 of them."]
    questions = [asked[i] for i in (0, 1, 0, 2, 2, 0, 1)]
    texts = ["3 + 4 = 7.", "", "7.", "12 - 5 = 7.", "nothing", "3 + 4 = 7.", "1 + 1 = 2. 2 + 1 = 3."]
    wanted = [tiny_reasoner.read([t], [q])[0] for t, q in zip(texts, questions, strict=True)]
    started: list[int] = []
    start = tiny_reasoner.model.start

    def counted(ids: torch.Tensor, mask: torch.Tensor) -> object:
        started.append(len(ids))
        return start(ids, mask)

    monkeypatch.setattr(tiny_reasoner.model, "start", counted)
    for size, read in ((32, [3]), (3, [2, 2, 1])):
        monkeypatch.setattr(tiny_reasoner, "batch_size", size)
        started.clear()
        found = tiny_reasoner.read(texts, questions)
        assert started == read
        for states, one in zip(found, wanted, strict=True):
            torch.testing.assert_close(states, one, rtol=0, atol=1e-5)


def test_no_texts_give_nothing(tiny_reasoner: CodiReasoner) -> None:
    assert tiny_reasoner.read([]) == tiny_reasoner.offsets([]) == []
    assert tiny_reasoner.nll([]).shape == (0,)
    [ids] = tiny_reasoner.ids_of(["12 + 5"])
    assert tiny_reasoner.ids("12 + 5") == ids
