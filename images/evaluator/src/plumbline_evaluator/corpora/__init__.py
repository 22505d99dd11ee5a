"""Corpora: where harmful requests and their benign twins come from.

`load_corpus` is called by the evaluator's command with the names that a suite gives. The task-assistant corpus
ships with this package; those of other packages are read from where these are installed, and are never copied.
"""

from collections.abc import Callable, Mapping

from plumbline_evaluator.corpora.packages import is_held_out, load_advbench, load_harmbench, training_prompts
from plumbline_evaluator.corpora.seeds import Corpus, CorpusError, Seed, SeedPair, Split, fingerprint
from plumbline_evaluator.corpora.task_assistant import TaskAssistant, load_domain

__all__ = [
    "CORPORA",
    "Corpus",
    "CorpusError",
    "Seed",
    "SeedPair",
    "Split",
    "fingerprint",
    "is_held_out",
    "load_corpus",
    "training_prompts",
]


def _load_task_assistant() -> Corpus:
    return TaskAssistant(load_domain())


CORPORA: Mapping[str, Callable[[], Corpus]] = {
    "task-assistant": _load_task_assistant,
    "advbench": load_advbench,
    "harmbench": load_harmbench,
}


def load_corpus(name: str) -> Corpus:
    """Open the corpus of this name.

    Raises:
        CorpusError: when there is none of this name, or its package or data is absent.
    """
    if name not in CORPORA:
        raise CorpusError(f"corpus {name!r} is not one of {', '.join(CORPORA)}")
    return CORPORA[name]()
