"""Accuracy of a recurrent-depth model at its own number of iterations and at fewer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi.cli import evaluate
from reverse_codi.evaluation import iterations
from reverse_codi.evaluation.iterations import Iterated, metric, prompt, solution_of, solved, verdict
from reverse_codi.reasoners.checkpoints.known import Published
from reverse_codi.reasoners.huginn.reasoner import HuginnReasoner
from reverse_codi.tasks.arithmetic import Arithmetic
from reverse_codi.tasks.base import Problem, Split, Step
from reverse_codi.utils.bootstrap import Interval
from tests.huginn import make_tiny_huginn

NOT_KNOWN = "no published figure is known for this checkpoint, number of thoughts and task"

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
SHOT = Problem("Ann has 3 cups. She gets 2.", "5", (Step("Ann has 3 + 2 = 5 cups.", "3 + 2 = 5", "5"),), "s")


@pytest.fixture
def reasoner(monkeypatch: pytest.MonkeyPatch) -> HuginnReasoner:
    # An untrained model never ends an answer by itself.
    monkeypatch.setattr(iterations, "LONGEST_SOLUTION", 3)
    return make_tiny_huginn(block_size=256)


def near(value: float) -> Interval:
    return Interval(value, value - 0.03, value + 0.03, 1319)


def found(own: float, one: float) -> Iterated:
    return Iterated(near(own), {1: near(one), 32: near(own)})


def test_solved_problems_come_first_each_ending_as_answers_are_read(reasoner: HuginnReasoner) -> None:
    assert solved(SHOT) == "Ann has 3 + 2 = 5 cups. The answer is 5."
    assert Arithmetic().extract_answer(solved(SHOT)) == "5"
    plain = prompt(reasoner, [SHOT], "How many?")
    assert plain == (
        "Q: Ann has 3 cups. She gets 2.\nA: Ann has 3 + 2 = 5 cups. The answer is 5.\n\nQ: How many?\nA:"
    )
    assert solution_of(" 7. The answer is 7.\n\nQ: And now? The answer is 9.") == " 7. The answer is 7.\n"


def test_a_chat_template_makes_them_turns_and_the_begin_token_stands_once(reasoner: HuginnReasoner) -> None:
    reasoner.tokenizer.chat_template = TEMPLATE
    reasoner.tokenizer.bos_token = "<bos>"
    filled = prompt(reasoner, [SHOT], "How many?")
    asked = str(filled)
    assert asked.startswith("[system] You are a helpful assistant") and asked.endswith("A: [assistant]")
    assert asked.index("[user] Q: Ann") < asked.index("[assistant] Ann has") < asked.index("[user] Q: How")
    assert reasoner.ids(filled).count(reasoner.config.bos_token_id) == 1


def test_a_chat_templates_tokens_are_tokens_and_a_problems_words_are_not(reasoner: HuginnReasoner) -> None:
    reasoner.tokenizer.chat_template = TEMPLATE.replace("[{{ m['role'] }}]", "<pad>")
    reasoner.tokenizer.bos_token = "<bos>"
    pad = reasoner.tokenizer.pad_token_id
    plain = reasoner.ids(prompt(reasoner, [SHOT], "How many cups?"))
    typed = reasoner.ids(prompt(reasoner, [SHOT], "How many <pad> cups <bos>?"))
    assert plain.count(pad) == typed.count(pad) == 4  # system, a question, its solution, the last question
    assert typed.count(reasoner.config.bos_token_id) == 1
    assert reasoner.ids("<pad>") == [reasoner.config.bos_token_id, *[reasoner.tokenizer.unk_token_id] * 3]


def test_each_count_is_asked_and_the_models_own_is_the_accuracy(reasoner: HuginnReasoner) -> None:
    task = Arithmetic()
    figures = metric(reasoner, task, 6, seed=0, shots=1)
    assert list(figures.by_iterations) == [1, 4, 8, 16, 32]  # its own, 4, is one of them
    assert figures.own == figures.by_iterations[4] and figures.own.n == 6
    # Once more, one question at a time.
    problems, shots = task.problems(Split.HELDOUT, 6, 0), task.problems(Split.TRAIN, 1, 0)
    for count in (1, 4):
        written = [reasoner.answer([prompt(reasoner, shots, p.question)], count, 0, 3)[0] for p in problems]
        right = [task.extract_answer(w) == p.answer for w, p in zip(written, problems, strict=True)]
        assert figures.by_iterations[count].value == pytest.approx(sum(right) / 6)


def test_the_verdict_compares_and_says_where_iterations_do_nothing() -> None:
    published = Published(0.348, "paper")
    assert verdict(found(0.35, 0.01), published) == ["agrees with the published 0.348 (paper)"]
    [off] = verdict(found(0.26, 0.01), published)
    assert off.startswith("OFF by -0.088") and "chat template" in off
    _, idle = verdict(found(0.35, 0.2), published)
    assert idle.startswith("ITERATIONS HARDLY MATTER: 0.200 of 0.350")
    assert verdict(found(0.35, 0.01), None) == [NOT_KNOWN]


def test_the_verb_knows_a_huginn_checkpoint_by_its_tensors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(iterations, "LONGEST_SOLUTION", 1)
    reasoner = make_tiny_huginn(block_size=1024)
    reasoner.save_pretrained(tmp_path / "model")
    words = ["--reasoner", str(tmp_path / "model"), "--task", "arithmetic", "--problems", "3"]
    evaluate.main([*words, "--out", str(tmp_path / "out")])
    kept = json.loads((tmp_path / "out/accuracy.json").read_text())
    assert kept["accuracy"]["n"] == 3 and kept["accuracy"] == kept["accuracy.iterations.4"]
    assert {f"accuracy.iterations.{n}" for n in (1, 8, 16, 32)} < set(kept)
    assert "3 held-out problems" in " ".join(capsys.readouterr().out.split())
