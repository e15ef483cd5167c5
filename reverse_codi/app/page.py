"""The page: a question, its thoughts as they are translated, edits of them and what follows."""

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

from reverse_codi.app.asking import Thinking, compared
from reverse_codi.errors import UserError
from reverse_codi.verbalize.translations.record import Translation
from reverse_codi.verbalize.translations.translations import figure
from reverse_codi.verbalize.verbalizer import Verbalizer

LOOPBACK = "127.0.0.1"
THOUGHTS = ["thought", "translation", "match", "trust", "why", "logit lens"]
ALTERNATIVES = ["text", "share"]
EDITED = ["thought", "before", "after"]
EXAMPLES = (
    "Umar owns 9 cups. Then he picks 3 more. How many cups are left?",
    "There are 28 tickets on the table of Dan. He sells 4 of them. Then he makes it 2 times as many. "
    "Noah brings 12 more. He loses 4. How many tickets is that in the end?",
)
HEAD = """# What does it think?
Ask, and read each thought. To change one, click its translation, edit the text or a number, and press Enter:
the model goes on from there. An empty cell takes the thought back.
"""
# Translations look as if they can be edited; rows are neither added nor sorted; headers are not broken.
STYLE = """
#thoughts .body-cell:not(.static) { cursor: text; }
#thoughts .body-cell:not(.static) span { text-decoration: underline dotted; text-underline-offset: 4px; }
#thoughts :is(.cell-menu-button, .cell-menu, .selection-button, .header-icons) { display: none !important; }
#thoughts .header-cell span { word-break: keep-all !important; overflow-wrap: normal !important; }
"""
# Gradio's table is edited by a double click, for which phones have no gesture.
SCRIPT = """
document.addEventListener('click', event => {
  const cell = event.target.closest('#thoughts .body-cell:not(.static)');
  if (!cell || cell.querySelector('textarea')) return;
  cell.dispatchEvent(new MouseEvent('dblclick', {bubbles: true}));
}, true);
"""


def build(verbalizers: Mapping[str, Verbalizer], examples: Sequence[str] = ()) -> gr.Blocks:
    """The page over some verbalizers, the first of which is chosen."""
    names = list(verbalizers)

    @shown
    def think(name: str, question: str) -> Iterator[tuple[Any, ...]]:
        for thinking in Thinking.about(verbalizers[name], question).one_by_one():
            sites = [str(site) for site in thinking.sites]
            rows = [_cells(row) for row in thinking.rows]
            chosen = gr.Dropdown(choices=sites, value=sites[0])
            yield thinking, rows, thinking.answer, gr.Dataframe(visible=False), chosen

    @shown
    def change(thinking: Thinking | None, rows: list[list[str]]) -> tuple[str, Any]:
        asked = _asked(thinking)
        edits = asked.edits(_texts(rows))
        if not edits:
            return asked.answer, gr.Dataframe(visible=False)
        found = asked.with_edits(edits)
        chain = [[old.site, old.text, new.text] for old, new in zip(found.before, found.after, strict=True)]
        return " → ".join(found.answers), gr.Dataframe(chain, visible=True)

    def take_back(thinking: Thinking | None, rows: list[list[str]]) -> Any:
        texts = _texts(rows)
        if thinking is None or all(text.strip() for text in texts.values()):
            return gr.skip()
        return [_cells(row, texts.get(row.site, "").strip()) for row in thinking.rows]

    def choose(event: gr.SelectData) -> str:
        return str(event.row_value[0])

    @shown
    def more(thinking: Thinking | None, site: str, n: float) -> list[list[str]]:
        asked = _asked(thinking)
        sites = {str(site): site for site in asked.sites}
        return [[text, f"{share:.0%}"] for text, share in asked.samples(sites[site], int(n))]

    @shown
    def download(thinking: Thinking | None) -> str:
        return str(_asked(thinking).save(Path(tempfile.mkdtemp(prefix="reverse_codi-")) / "trace.json"))

    with gr.Blocks(title="reverse_codi", analytics_enabled=False) as page:
        gr.Markdown(HEAD)
        state = gr.State(None)
        with gr.Row():
            question = gr.Textbox(label="Question", lines=2, scale=4, elem_id="question")
            name = gr.Dropdown(names, value=names[0], label="Verbalizer", scale=1, visible=len(names) > 1)
        ask = gr.Button("Think", variant="primary", elem_id="think")
        gr.Examples([[text] for text in examples or EXAMPLES], inputs=[question])
        rows = _table(
            THOUGHTS,
            label="Thoughts",
            elem_id="thoughts",
            interactive=True,
            static_columns=[place for place, column in enumerate(THOUGHTS) if column != "translation"],
        )
        answer = gr.Textbox(label="Answer", interactive=False, elem_id="answer")
        after = _table(EDITED, label="The chain after the edit", elem_id="after", visible=False)
        gr.Markdown("### What else a thought may say")
        with gr.Row():
            site = gr.Dropdown([], label="Thought", elem_id="site")
            n = gr.Slider(1, 64, value=16, step=1, label="Samples")
        sample = gr.Button("Sample", elem_id="sample")
        others = _table(ALTERNATIVES, label="Samples by content", elem_id="others")
        if len(names) > 1:
            compare = gr.Button("Compare verbalizers", elem_id="compare")
            side = _table(["thought", *names], label="What each verbalizer says", elem_id="side")
            compare.click(shown(lambda asked: compared(verbalizers, asked)), [question], [side])
        keep = gr.DownloadButton("Download the trace", elem_id="download")
        for event in (ask.click, question.submit):
            event(think, [name, question], [state, rows, answer, after, site])
        rows.input(
            change, [state, rows], [answer, after], trigger_mode="always_last", show_progress="minimal"
        )
        rows.input(take_back, [state, rows], [rows], show_progress="hidden")
        rows.select(choose, None, [site])
        sample.click(more, [state, site, n], [others])
        keep.click(download, [state], [keep])
    return page


def serve(page: gr.Blocks, port: int = 0, browser: bool = False) -> str:
    """Serve a page on this machine, to this machine alone, until `page.close()`.

    Args:
        page: from `build`.
        port: 0 takes a free one.
        browser: open it in the user's browser.

    Returns:
        Its address.
    """
    _, address, _ = page.queue().launch(
        server_name=LOOPBACK,
        server_port=port or None,
        inbrowser=browser,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        css=STYLE,
        js=SCRIPT,
        footer_links=["settings"],
        run_history=False,
    )
    return address


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


def _table(headers: Sequence[str], **how: Any) -> gr.Dataframe:
    return gr.Dataframe(headers=list(headers), type="array", wrap=True, **{"interactive": False, **how})


def _asked(thinking: Thinking | None) -> Thinking:
    if thinking is None:
        raise UserError("no question has been asked; write one and press Think")
    return thinking


def _texts(rows: Sequence[Sequence[str | None]]) -> dict[str, str]:
    """What the table says: site -> text, "" where the cell was emptied."""
    return {str(row[0]): row[1] or "" for row in rows}


def _cells(row: Translation, text: str = "") -> list[str]:
    """A row of the table; with an edited text in the translation's place."""
    lens = " ".join(row.lens or ["-"])
    return [row.site, text or row.text, figure(row.match), figure(row.trust), row.reason, lens]
