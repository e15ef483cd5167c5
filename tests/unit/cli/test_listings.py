"""`reverse-codi listings` on a log as CODI writes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reverse_codi.cli.listings import main
from reverse_codi.errors import UserError
from reverse_codi.tasks.listings import listed

LOG = r"""Question0...
Ann has 16 eggs. She eats 7
and sells the rest for $2. How much...?...
CoT=<<16-3-4=9>> <<9*2=18>>, Answer=18.0
decoded 0th latent (top5): [' 13', '9', ' 12']
decoded 1th latent (top5): ['-', '\n', ' 18']
Model Prediction: The answer is: 18<|endoftext|>



Question3...
Bo runs?...
CoT=<<3*3=9>> <<9/4=9/4>> <<9*60=540.00>>, Answer=540.0
decoded 0th latent (top5): ['9', ' 9', 'it']
decoded 1th latent (top5): ['*', ',', 'x']
Model Prediction: The answer is: 550<|endoftext|>



Question7...
Cy waits?...
CoT=<<1000+200=1,200>> <<1200/2=600>>, Answer=600.0
decoded 0th latent (top5): [' 1000', ' 1,200', '9']
decoded 1th latent (top5): [' 600', '*', ',']
Model Prediction: 600



Question8...
No steps?...
CoT=, Answer=5.0
decoded 0th latent (top5): ['5', ' 5', ' 4']
Model Prediction: The answer is: 5
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "decoded_latent.txt"
    file.write_text(LOG)
    return file


def test_the_log_is_read_question_by_question() -> None:
    first, second, *_ = listed(LOG)
    assert first.question == "Ann has 16 eggs. She eats 7\nand sells the rest for $2. How much...?"
    assert (first.solution, first.answer) == ("<<16-3-4=9>> <<9*2=18>>", "18.0")
    assert first.prediction == "The answer is: 18<|endoftext|>"
    assert first.latents == [[" 13", "9", " 12"], ["-", "\n", " 18"]]
    assert second.question == "Bo runs?" and len(listed(LOG)) == 4
    assert listed("no question") == []


def test_intermediate_results_are_counted(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    main([str(log), "--out", str(out)])
    printed = capsys.readouterr().out
    assert "4 questions, 3 with gold steps" in printed and "3 of 4 predictions are right" in printed
    found = {key: figure["value"] for key, figure in json.loads(out.read_text()).items()}
    # Two problems with one step between: 9 and 1200, neither the likeliest token, both named.
    assert (found["steps.1.top1"], found["steps.1.top3"]) == (0, 1)
    # The other's latents name 9 and not 1200.
    assert found["steps.1.shuffled"] == 0.5
    # "9/4" is no number; the answer 540 is no step between.
    assert found["steps.2.top1"] == found["steps.2.top3"] == 1
    assert found["steps.2.shuffled"] is None
    assert "steps.0.top1" not in found and "steps.3.top1" not in found
    assert (found["latent.0.number"], found["latent.1.number"]) == (1, pytest.approx(1 / 3))
    assert (found["latent.0.step.1"], found["latent.1.step.1"]) == (1, 0)
    assert found["latent.0.step.2"] is None


def test_gold_steps_may_come_from_data(log: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "gold.jsonl", tmp_path / "figures.json"
    rows = [
        {"question": "BO  runs?", "cot": "<<1+12=13>> <<4+5=9>> <<9+1=10>>", "answer": "10"},
        {"question": "Cy waits?", "cot": "<<1+1=2>> <<2+2=4>>", "answer": "4"},
        {"question": "Who else?", "cot": "<<1+1=2>> <<2+2=4>>", "answer": "4"},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    main([str(log), "--task", "gsm8k_aug", "--path", str(data), "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["steps.2.top3"]["value"] == 0.5 and found["steps.2.top3"]["n"] == 1
    assert found["steps.1.top3"]["value"] == 0


@pytest.mark.parametrize(
    ("words", "predictions"),
    [
        (["{log}", "--path", "x"], "--path x is data of which task"),
        (["{log}", "--task", "arithmetic"], "--task arithmetic has no data"),
        (["{log}", "--out", "{dir}/other.txt/x.json"], "other.txt is not a folder"),
        (["{dir}/none.txt"], "none.txt: no such file"),
        (["{dir}/other.txt"], "other.txt: no latents of a question"),
        (["{dir}/bytes.txt"], "bytes.txt:2: byte 0xff at column 1 is no UTF-8"),
        (["{dir}/bare.txt"], "1 questions, but .*bare.txt has no gold steps"),
        (["{log}", "--task", "gsm8k_aug", "--path", "{dir}/data.jsonl"], "the data of gsm8k_aug has none"),
    ],
)
def test_what_is_missing_is_named_in_one_line(
    log: Path, tmp_path: Path, words: list[str], predictions: str
) -> None:
    (tmp_path / "other.txt").write_text("Question0...\nHow many?...\n")
    (tmp_path / "bytes.txt").write_bytes(b"Question0...\n\xff")
    (tmp_path / "bare.txt").write_text("Question0...\nHow many?...\ndecoded 0th latent (top5): ['1']\n")
    (tmp_path / "data.jsonl").write_text('{"question": "Z?", "cot": "<<1+1=2>>", "answer": "2"}\n')
    with pytest.raises(UserError, match=predictions) as error:
        main([word.format(log=log, dir=tmp_path) for word in words])
    assert "\n" not in str(error.value)
