"""Prod2Vec: product vectors from click sessions (Word2Vec, skip-gram, sessions as sentences)."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from ..clicks import ClickLog
from ..embeddings import Embedding, Provenance
from ..errors import ParameterError, check_int
from ..progress import Advance, Progress, silent


@dataclass(frozen=True)
class Prod2VecSettings:
    """Word2Vec's parameters. The defaults are the preset `paper`: what the paper names, and gensim's for the rest.

    Attributes
    ----------
    dimension, window
        512 and 5 in the paper.
    min_count
        A product with fewer clicks in the clean sessions is missing.
    epochs, negative, sample, ns_exponent, alpha, min_alpha
        As in gensim's `Word2Vec`: passes, negative samples, down-sampling of frequent products, exponent of the
        noise distribution, first and last learning rate.
    skip_gram
        False trains CBOW.
    seed, deterministic
        With `deterministic`, one worker: bit-equal vectors from equal sessions and seed, on one machine with
        the same versions of gensim, NumPy and its BLAS. Without it, worker threads race for the weights and
        two runs differ slightly.
    workers
        Threads where not deterministic; None for the number of CPUs.
    """

    dimension: int = 512
    window: int = 5
    min_count: int = 5
    epochs: int = 5
    negative: int = 5
    sample: float = 1e-3
    ns_exponent: float = 0.75
    alpha: float = 0.025
    min_alpha: float = 0.0001
    skip_gram: bool = True
    seed: int = 0
    deterministic: bool = True
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("dimension", "window", "min_count", "epochs", "negative"):
            check_int(name, getattr(self, name), low=1)
        check_int("seed", self.seed, low=0, high=2**32 - 1)
        if self.workers is not None:
            check_int("workers", self.workers, low=1)
        if not 0 <= self.sample < 1:
            raise ParameterError(f"sample == {self.sample!r}, must be in [0, 1).")
        if not 0 < self.alpha < 1:
            raise ParameterError(f"alpha == {self.alpha!r}, must be in (0, 1).")
        if not 0 <= self.min_alpha <= self.alpha:
            raise ParameterError(f"min_alpha == {self.min_alpha!r}, must be in [0, alpha].")
        if not -10 <= self.ns_exponent <= 10:
            raise ParameterError(f"ns_exponent == {self.ns_exponent!r}, must be in [-10, 10].")


PRESETS = {"paper": Prod2VecSettings()}


def click_settings(preset: str = "paper", **changes: Any) -> Prod2VecSettings:
    """A preset with some parameters changed. Raises `ParameterError` for an unknown preset or parameter."""
    if preset not in PRESETS:
        raise ParameterError(f"click == {preset!r}, must be one of {', '.join(PRESETS)}.")
    base = PRESETS[preset]
    unknown = [name for name in changes if name not in asdict(base)]
    if unknown:
        raise ParameterError(f"unknown click parameter {unknown[0]!r}; there are {', '.join(asdict(base))}.")
    return replace(base, **changes)


class Prod2Vec:
    """The click encoder (the paper, section III-C): Word2Vec over sessions of product ids.

    Products with fewer than `min_count` clicks have no vector; they are missing, never random.
    """

    modality = "click"

    def __init__(self, settings: Prod2VecSettings | None = None) -> None:
        self.settings = settings or Prod2VecSettings()

    def fit(self, clicks: ClickLog, *, progress: Progress = silent) -> Embedding:
        """Train on clean sessions: float32 [products with enough clicks, dimension], over `clicks.ids`."""
        s = self.settings
        provenance = Provenance("prod2vec", f"gensim-{version('gensim')}", asdict(s))
        enough = clicks.counts() >= s.min_count
        if not enough.any():
            none = np.zeros(len(clicks.ids), np.uint8)
            return Embedding("click", clicks.ids, none, np.empty((0, s.dimension), np.float32), provenance)
        # Deferred: gensim pulls in SciPy, and a user of text and pictures alone needs neither.
        from gensim.models import Word2Vec

        passes = s.epochs + 1  # one more to count the products
        with progress("training Prod2Vec", passes * len(clicks)) as advance:
            model = Word2Vec(
                sentences=_Sentences(clicks, advance),
                vector_size=s.dimension,
                window=s.window,
                min_count=s.min_count,
                sg=int(s.skip_gram),
                negative=s.negative,
                sample=s.sample,
                ns_exponent=s.ns_exponent,
                alpha=s.alpha,
                min_alpha=s.min_alpha,
                epochs=s.epochs,
                seed=s.seed,
                workers=1 if s.deterministic else s.workers or os.cpu_count() or 1,
                hashfxn=_stable_hash,
            )
        return Embedding.join("click", clicks.ids, model.wv.index_to_key, model.wv.vectors, provenance)


class _Sentences:
    """Sessions as often as gensim asks for them, reporting progress once a thousand."""

    def __init__(self, clicks: ClickLog, advance: Advance) -> None:
        self._clicks = clicks
        self._advance = advance

    def __iter__(self) -> Iterator[list[str]]:
        done = 0
        for session in self._clicks:
            yield session
            done += 1
            if done % 1000 == 0:
                self._advance(1000)
        self._advance(done % 1000)


def _stable_hash(text: str) -> int:
    # Python's own hash of text differs from process to process.
    return zlib.crc32(text.encode())
