"""The public way to translate thoughts: load a verbalizer once, then give it questions, vectors or traces.

Shapes: N rows, S sites, d width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from numpy.typing import ArrayLike
from torch import Tensor

from reverse_codi.errors import UserError
from reverse_codi.reading.metric import ThoughtMetric
from reverse_codi.reasoners.base import Reasoner
from reverse_codi.reasoners.codi import CodiReasoner
from reverse_codi.reasoners.load import as_source, load_reasoner
from reverse_codi.reasoners.question_checks import understood
from reverse_codi.reasoners.sites import ANSWER, Site
from reverse_codi.recipe.reasoner import EMBEDDED, Source
from reverse_codi.recipe.traces import OnBad
from reverse_codi.storage.cards import write_card
from reverse_codi.storage.hub import pushed
from reverse_codi.traces.store import TraceStore, check_reasoner
from reverse_codi.utils.shown import cut
from reverse_codi.verbalize.counterfactual import Counterfactual, edited_sites, read_as, thoughts_with
from reverse_codi.verbalize.publishing.card import verbalizer_card
from reverse_codi.verbalize.publishing.folder import (
    EMBEDDED_FOLDER,
    copy_verbalizer,
    reasoner_source,
    verbalizer_folder,
)
from reverse_codi.verbalize.publishing.place import Place
from reverse_codi.verbalize.questions import Question
from reverse_codi.verbalize.thoughts import thought_sites
from reverse_codi.verbalize.translations.given import Given, given_vectors, stored, thought_now
from reverse_codi.verbalize.translations.reference_texts import kept_reference_texts, save_reference_texts
from reverse_codi.verbalize.translations.translate import translate
from reverse_codi.verbalize.translations.translations import Translations
from reverse_codi.verbalize.translations.vectors import as_vectors, check_width
from reverse_codi.verbalize.translator import Translator

log = logging.getLogger(__name__)

__all__ = ["EMBEDDED_FOLDER", "Verbalizer", "reasoner_source", "verbalizer_folder"]


class Verbalizer:
    """A verbalizer with the reasoner whose thoughts it translates. `Verbalizer.from_pretrained` loads one.

    Args:
        translator: writes texts.
        metric: reads them and compares them with thoughts.
        source: what the reasoner was loaded from; None means its folder.

    Attributes:
        reasoner: who thinks.
        sites: the thoughts that can be translated, one text each; `answer` if one text is of a whole trace.
    """

    def __init__(self, translator: Translator, metric: ThoughtMetric, source: Source | None = None) -> None:
        self.translator = translator
        self.metric = metric
        self.source = source
        self.reasoner = translator.reasoner
        self.sites = metric.sites
        known = [*thought_sites(self.reasoner.n_thoughts), ANSWER]
        slots = translator.policy.verbalizer_config.n_slots
        wanted = self.reasoner.n_thoughts if ANSWER in self.sites else 1
        if slots != wanted:
            raise UserError(
                f"{translator.folder}: n_slots is {slots}, its maps are of texts of {wanted} thoughts; fetch "
                "the verbalizer again"
            )
        if strange := [str(site) for site in self.sites if site not in known]:
            raise UserError(
                f"{translator.folder} has maps of {cut(' '.join(strange))}; its reasoner has the thoughts "
                f"{' '.join(map(str, known))}; fetch the verbalizer again"
            )

    @cached_property
    def references(self) -> Mapping[Site, Sequence[str]]:
        """What it says of other thoughts, by site; translated once if its folder does not have them."""
        return kept_reference_texts(self.translator, self.metric)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path = EMBEDDED,
        reasoner: Reasoner | Source | str | Path | None = None,
        device: str | None = None,
        max_new_tokens: int | None = None,
        revision: str | None = None,
    ) -> Verbalizer:
        """Load a verbalizer.

        Args:
            path: "embedded" for the one that the package carries; its folder, or the folder of the run that
                made it; or its id on the hub, "owner/name".
            reasoner: the one that it was trained on, loaded or by folder or hub id. If None: that which the
                run's recipe names, else the embedded one.
            device: where the reasoner's weights go, "cpu" or "cuda"; as in `Reasoner.from_pretrained`.
            max_new_tokens: longest text; if None, as long as it could be in training.
            revision: commit, branch or tag of a hub id.

        Raises:
            UserError: there is no verbalizer in the folder or on the hub, or it is of another reasoner.
        """
        folder = verbalizer_folder(path, revision)
        if reasoner is None:
            reasoner = reasoner_source(folder, path)
        source = as_source(reasoner) if isinstance(reasoner, str | Path | Source) else None
        if isinstance(reasoner, str | Path | Source):
            reasoner = load_reasoner(reasoner, device)
        if not isinstance(reasoner, CodiReasoner):
            raise UserError(
                f"reasoner is a {type(reasoner).__name__}; translation is for reasoners that feed thoughts "
                "back as input embeddings (CODI, Coconut): Reasoner.from_pretrained(...) loads one"
            )
        translator = Translator(reasoner, folder, max_new_tokens)
        return cls(translator, ThoughtMetric.load(folder, reasoner), source)

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        reasoner: str | None = None,
        metrics: str | Path | None = None,
        license: str | None = None,
    ) -> None:
        """Write the verbalizer, its reading, its recipe and a card into a folder.

        Args:
            folder: made if it is missing.
            reasoner: hub id or folder that the recipe there shall name; if None, what it was loaded with.
            metrics: `metrics.json` of its evaluation, for the card; if None, one that lies beside it.
            license: as the hub names it, "apache-2.0"; for the card.

        Raises:
            MetricsError: the figures are of another verbalizer.
        """
        place = Place.of(self.reasoner, self.source, reasoner)
        self._write(Path(folder), place, self._card(place, str(folder), metrics, license))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        reasoner: str | None = None,
        metrics: str | Path | None = None,
        license: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, as one commit.

        Args:
            repo_id: "owner/name"; made if there is none.
            reasoner: hub id of its reasoner; needed if that was loaded from a folder.
            metrics: as in `save_pretrained`.
            license: as in `save_pretrained`.
            private: whether a new repository is private; None leaves it to the owner's settings.
            revision: branch; `main` if None.
            token: of the hub; if None, that of `hf auth login` or HF_TOKEN.

        Returns:
            The commit's address.

        Raises:
            UserError: others could not load its reasoner, the figures are of another verbalizer, or the hub
                refused.
        """
        write = self.writer(repo_id, reasoner, metrics, license)
        return pushed(write, repo_id, private=private, revision=revision, token=token)

    def writer(
        self,
        repo_id: str,
        reasoner: str | None = None,
        metrics: str | Path | None = None,
        license: str | None = None,
    ) -> Callable[[Path], None]:
        """What writes the folder that `push_to_hub` uploads, once all is checked; arguments as there."""
        place = Place.of(self.reasoner, self.source, reasoner)
        place.check_public()
        card = self._card(place, repo_id, metrics, license)
        return lambda folder: self._write(folder, place, card)

    def _card(self, place: Place, path: str, metrics: str | Path | None, license: str | None) -> str:
        given = None if metrics is None else Path(metrics)
        return verbalizer_card(self.translator, self.metric, place, path, given, license)

    def _write(self, folder: Path, place: Place, card: str) -> None:
        copy_verbalizer(self.translator.folder, folder, place)
        save_reference_texts(self.references, self.translator, self.metric, folder)
        write_card(folder, card)

    def translate(
        self, questions: str | Sequence[str], samples: int = 0, on_bad_question: OnBad = "error"
    ) -> Translations:
        """Let the reasoner think about questions and translate its thoughts.

        Args:
            questions: one question, or N.
            samples: candidates a thought beside the greedy text, of which the reader takes the nearest.
            on_bad_question: "error", or "skip" to go without questions that the reasoner cannot be asked
                (empty, or longer than its positions). What it does not understand of a question is logged.

        Raises:
            QuestionError: a question cannot be asked.
        """
        texts = [questions] if isinstance(questions, str) else list(questions)
        asked = [Question(text, "") for text in texts]
        kept = understood(self.reasoner, asked, on_bad_question, "on_bad_question")
        if not kept:
            return Translations([])
        return self.translate_given(self.thoughts_about([one.question for one in kept]), samples)

    def translate_vectors(
        self,
        z: ArrayLike | Tensor,
        site: str | Site | None = None,
        *,
        sites: str | Sequence[str | Site] | None = None,
        questions: Sequence[str] | None = None,
        samples: int = 0,
    ) -> Translations:
        """Translate vectors of this reasoner.

        Args:
            z: [d], [N, d] or [N, S, d]; a NumPy array or a tensor, of any floating type and device.
            site: what they are, "h1" (the hidden state of thought 1) or "z1" (its latent input). A latent
                input alone has no match and no trust: its hidden state is not known.
            sites: for [N, S, d], the S sites: ["h0", "h1"], or "h0.." for as many as there are, from h0 on.
            questions: the question of each row, if they are known.
            samples: as in `translate`.

        Raises:
            UserError: the shape, the width or the sites do not fit, or a number is NaN or infinite.
        """
        if (site is None) == (sites is None):
            raise UserError('give either site="h1", for one vector a row, or sites=["h0", "h1"], for several')
        named = [site] if site is not None else [sites] if isinstance(sites, str) else list(sites or [])
        vectors = as_vectors(z, list(map(str, named)), questions)
        check_width(vectors, self.reasoner.width)
        return self.translate_given(given_vectors(vectors, self.reasoner, self.metric), samples)

    def translate_store(self, store: TraceStore | str | Path, samples: int = 0) -> Translations:
        """Translate the thoughts of a trace store as they lie there; nothing is thought anew.

        Args:
            store: opened, or its folder.
            samples: as in `translate`.

        Raises:
            StoreError: there is none, or it holds the traces of another reasoner.
        """
        name = "traces"
        if not isinstance(store, TraceStore):
            name, store = str(store), TraceStore.open(store)
        check_reasoner(Path(name), store.manifest.header, self.reasoner)
        return self.translate_given(stored(store, name, self.reasoner, self.metric), samples)

    def latent_inputs(
        self, texts: Sequence[str], site: str | Site, questions: Sequence[str] | None = None
    ) -> Tensor:
        """The latent inputs [N, d] that texts stand for at a thought: what to feed to make it say them.

        Args:
            texts: N texts, as "12 + 6 = 18.".
            site: the thought, "h1".
            questions: the question of each, for maps that read a text after its question.

        Raises:
            UserError: no map reads texts for this thought, or the questions are missing.
        """
        [at] = edited_sites(self.metric, [site])
        return self.reasoner.project(read_as(self.metric, texts, [at] * len(texts), questions))

    def counterfactual(self, question: str, edits: Mapping[str, str] | Mapping[Site, str]) -> Counterfactual:
        """Let thoughts say something else, and see what the reasoner thinks after them and answers.

        Args:
            question: what the reasoner is asked.
            edits: thought -> what it is to say, {"h0": "12 + 6 = 18."}. Later thoughts are thought anew
                unless they are edited as well.

        Raises:
            QuestionError: the question cannot be asked.
            UserError: no map reads texts for one of the thoughts.
        """
        sites = edited_sites(self.metric, list(edits))
        texts = dict(zip(sites, edits.values(), strict=True))
        before = self.translate(question)
        after = self.translate_given(thoughts_with(self.reasoner, self.metric, question, texts))
        return Counterfactual({str(site): text for site, text in texts.items()}, before, after)

    def thoughts_about(self, questions: Sequence[str]) -> Given:
        """What the reasoner thinks about N questions, to be translated."""
        return thought_now(self.reasoner, questions, self.metric)

    def translate_given(self, given: Given, samples: int = 0) -> Translations:
        """Translate N rows of thoughts from anywhere."""
        return Translations(translate(self.translator, self.metric, self.references, given, samples))

    def __repr__(self) -> str:
        """Which thoughts it translates, and whose."""
        sites = f"{self.sites[0]}..{self.sites[-1]}" if len(self.sites) > 1 else str(self.sites[0])
        return f"Verbalizer(sites={sites}, reasoner={self.reasoner!r})"
