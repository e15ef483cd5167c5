"""The page: a question, its thoughts as they are translated, an edit and what follows from it."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # it asks its own server as it is imported

import gradio as gr

from reverse_codi.app.asking import Thinking, compared, edited, one_by_one, sampled, save
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.utils.errors import UserError
from reverse_codi.verbalize.translations.record import Translation
from reverse_codi.verbalize.translations.translations import figure
from reverse_codi.verbalize.verbalizer import Verbalizer

THOUGHTS = ["thought", "translation", "match", "trust", "why", "logit lens"]
ALTERNATIVES = ["text", "share"]
EDITED = ["thought", "before", "after"]
EXAMPLES = (
    "Umar owns 9 cups. Then he picks 3 more. How many cups are left?",
    "There are 28 tickets on the table of Dan. He sells 4 of them. Then he makes it 2 times as many. "
    "Noah brings 12 more. He loses 4. How many tickets is that in the end?",
)


def build(verbalizers: Mapping[str, Verbalizer], examples: Sequence[str] = ()) -> gr.Blocks:
    """The page over some verbalizers, the first of which is chosen."""
    names = list(verbalizers)

    @shown
    def think(name: str, question: str) -> Iterator[tuple[Any, ...]]:
        verbalizer = verbalizers[name]
        thinking = Thinking.about(verbalizer, question)
        sites = [str(site) for site in thinking.sites if site != ANSWER]
        for rows in one_by_one(verbalizer, thinking):
            chosen = gr.Dropdown(choices=sites, value=sites[0] if sites else None)
            yield thinking, [_cells(row) for row in rows], thinking.answer, chosen, rows[0].text

    @shown
    def choose(rows: list[list[str]], event: gr.SelectData) -> tuple[str, str]:
        row = event.index[0]
        return rows[row][0], rows[row][1]

    def text_of(rows: list[list[str]], site: str) -> str:
        return next((row[1] for row in rows if row[0] == site), "")

    @shown
    def more(name: str, thinking: Thinking | None, site: str, n: float) -> list[list[str]]:
        found = sampled(verbalizers[name], _asked(thinking), Site.parse(site), int(n))
        return [[text, f"{share:.0%}"] for text, share in found]

    @shown
    def change(name: str, thinking: Thinking | None, site: str, text: str) -> tuple[Any, ...]:
        found = edited(verbalizers[name], _asked(thinking).question, site, text)
        rows = [[old.site, old.text, new.text] for old, new in zip(found.before, found.after, strict=True)]
        return rows, " → ".join(found.answers)

    @shown
    def download(name: str, thinking: Thinking | None) -> str:
        folder = Path(tempfile.mkdtemp(prefix="reverse_codi-"))
        return str(save(verbalizers[name], _asked(thinking), folder / "trace.json"))

    with gr.Blocks(title="reverse_codi", analytics_enabled=False) as page:
        gr.Markdown("# What does it think?\nAsk, read each thought, and put another text in its place.")
        state = gr.State(None)
        with gr.Row():
            question = gr.Textbox(label="Question", lines=2, scale=4, elem_id="question")
            name = gr.Dropdown(names, value=names[0], label="Verbalizer", scale=1, visible=len(names) > 1)
        ask = gr.Button("Think", variant="primary", elem_id="think")
        gr.Examples([[text] for text in examples or EXAMPLES], inputs=[question])
        rows = gr.Dataframe(
            headers=THOUGHTS, type="array", interactive=False, wrap=True, label="Thoughts", elem_id="thoughts"
        )
        answer = gr.Textbox(label="Answer", interactive=False, elem_id="answer")
        with gr.Row():
            with gr.Column():
                gr.Markdown("### Change a thought")
                site = gr.Dropdown([], label="Thought", elem_id="site")
                text = gr.Textbox(label="It shall say", elem_id="text")
                put = gr.Button("Put it in place", elem_id="put")
                answers = gr.Textbox(label="Answer, before → after", interactive=False, elem_id="answers")
                after = gr.Dataframe(
                    headers=EDITED, type="array", interactive=False, wrap=True, label="After the edit",
                    elem_id="after",
                )  # fmt: skip
            with gr.Column():
                gr.Markdown("### What else it may say")
                n = gr.Slider(1, 64, value=16, step=1, label="Samples")
                sample = gr.Button("Sample", elem_id="sample")
                others = gr.Dataframe(
                    headers=ALTERNATIVES, type="array", interactive=False, wrap=True, label="Alternatives",
                    elem_id="others",
                )  # fmt: skip
        if len(names) > 1:
            compare = gr.Button("Compare verbalizers", elem_id="compare")
            side = gr.Dataframe(headers=["thought", *names], type="array", interactive=False, wrap=True)
            compare.click(shown(lambda asked: compared(verbalizers, asked)), [question], [side])
        keep = gr.DownloadButton("Download the trace", elem_id="download")
        for event in (ask.click, question.submit):
            event(think, [name, question], [state, rows, answer, site, text])
        rows.select(choose, [rows], [site, text])
        site.input(text_of, [rows, site], [text])
        sample.click(more, [name, state, site, n], [others])
        put.click(change, [name, state, site, text], [after, answers])
        keep.click(download, [name, state], [keep])
    return page


def shown(function: Callable[..., Any]) -> Callable[..., Any]:
    """Show what the user can correct as a message on the page."""

    @wraps(function)
    def one(*given: Any) -> Any:
        try:
            return function(*given)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    @wraps(function)
    def stream(*given: Any) -> Iterator[Any]:
        try:
            yield from function(*given)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return stream if inspect.isgeneratorfunction(function) else one


def _asked(thinking: Thinking | None) -> Thinking:
    if thinking is None:
        raise UserError("no question has been asked; write one and press Think")
    return thinking


def _cells(row: Translation) -> list[str]:
    lens = " ".join(row.lens or ["-"])
    return [row.site, row.text, figure(row.match), figure(row.trust), row.reason, lens]
