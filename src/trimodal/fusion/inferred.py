"""Inferred vectors: what a product's click vector would be, judged by its title and picture. A strategy of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding, Provenance, State
from ..errors import DataError, ParameterError

PENALTIES = tuple((10.0 ** np.arange(-2, 4)).tolist())
"""Ridge penalties that are tried, times the mean diagonal of the Gram matrix."""
HELD_OUT = 0.2
LEAST = 10
"""Products that must have the target and a source."""
_BLOCK = 8192


@dataclass(frozen=True)
class Inference:
    """An embedding with inferred vectors, and how well they were inferred for products that have a vector.

    Attributes
    ----------
    embedding
        The known vectors as they were, and an inferred one, state `inferred`, for every product that has a source.
    inferred
        How many.
    cosine, chance
        Mean cosine of inferred to known vectors of held-out products, and to those of other products.
    penalty
        Of the ridge regression, chosen for the best cosine on held-out products.
    """

    embedding: Embedding
    inferred: int
    cosine: float
    chance: float
    penalty: float

    def to_dict(self) -> dict[str, Any]:
        """All but the vectors."""
        return {key: value for key, value in asdict(self).items() if key != "embedding"}


def infer(
    embeddings: Mapping[str, Embedding],
    target: str = "click",
    *,
    sources: Sequence[str] | None = None,
    seed: int = 0,
) -> Inference:
    """Infer the missing vectors of one modality from others, by ridge regression between unit vectors.

    The sources' unit vectors, each with an indicator of whether it is there, are mapped linearly to the target's unit
    vectors; where a source is missing its part is left out of the sum, so a product with a title alone is inferred
    from its title. Known vectors are never changed. Time n d^2 and memory d^2 for d source dimensions.

    Parameters
    ----------
    embeddings
        All over the same n product ids.
    target
        Whose missing vectors are inferred.
    sources
        From which modalities; all the others if not given.
    seed
        Of the fifth of the products that is held out to choose the penalty.

    Raises
    ------
    ParameterError
        An unknown modality.
    DataError
        Fewer than ten products have the target and a source.
    """
    names = [name for name in embeddings if name != target] if sources is None else list(sources)
    unknown = [name for name in (target, *names) if name not in embeddings]
    if unknown or not names or target in names:
        raise ParameterError(
            f"cannot infer {target!r} from {', '.join(names) or 'nothing'}; there are {', '.join(embeddings)}."
        )
    known = embeddings[target]
    ids = known.ids
    parts = [embeddings[name].aligned(ids) for name in names]
    sourced = np.any([e.state > 0 for e in parts], axis=0)
    paired = np.flatnonzero(sourced & (known.state == State.KNOWN))
    if len(paired) < LEAST:
        raise DataError(
            f"{len(paired)} products have {target!r} and one of {', '.join(names)}; inferring needs {LEAST}."
        )
    held, kept = np.split(np.random.default_rng(seed).permutation(paired), [round(HELD_OUT * len(paired))])
    wanted = _unit(known.vectors[known.position[held]])
    gram, cross = _moments(parts, known, kept)
    guesses = {p: _predict(parts, held, _solve(gram, cross, p)) for p in PENALTIES}
    scores = {p: float((guess * wanted).sum(1).mean()) for p, guess in guesses.items()}
    penalty = max(scores, key=lambda p: scores[p])
    guess = guesses[penalty]
    gram_held, cross_held = _moments(parts, known, held)
    coefficients = _solve(gram + gram_held, cross + cross_held, penalty)
    missing = np.flatnonzero(sourced & (known.state == State.MISSING))
    found = Embedding.join(
        target, ids, [ids[i] for i in missing], _predict(parts, missing, coefficients), known.provenance,
        state=State.INFERRED,
    )  # fmt: skip
    settings = {**known.provenance.settings, "inferred_from": names}
    embedding = known.updated(found)
    embedding.provenance = Provenance(known.provenance.encoder, known.provenance.revision, settings)
    chance = float(guess.sum(0) @ wanted.sum(0) - (guess * wanted).sum()) / max(1, len(held) * (len(held) - 1))
    return Inference(embedding, int((found.state > 0).sum()), scores[penalty], chance, penalty)


def infer_clicks(embeddings: Mapping[str, Embedding]) -> dict[str, Embedding]:
    """The same, with the click vectors of products that have none inferred; as they are where too few have clicks."""
    try:
        return {**embeddings, "click": infer(embeddings).embedding}
    except DataError:  # a shop that is new: there is nothing to infer from yet
        return dict(embeddings)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _features(parts: Sequence[Embedding], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit vectors side by side, each with an indicator: [rows, sum of d + 1], zeros where a source is missing."""
    blocks = []
    for e in parts:
        block = np.zeros((len(rows), e.dimension + 1), np.float32)
        has = e.state[rows] > 0
        block[has, :-1] = _unit(e.vectors[e.position[rows[has]]])
        block[has, -1] = 1.0
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def _moments(
    parts: Sequence[Embedding], known: Embedding, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X'X and X'Y over some products, block by block."""
    width = sum(e.dimension + 1 for e in parts)
    gram, cross = np.zeros((width, width)), np.zeros((width, known.dimension))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        x = _features(parts, part)
        gram += x.T @ x
        cross += x.T @ _unit(known.vectors[known.position[part]])
    return gram, cross


def _solve(gram: NDArray[np.float64], cross: NDArray[np.float64], penalty: float) -> NDArray[np.float32]:
    from scipy.linalg import solve

    ridge = penalty * float(np.trace(gram)) / len(gram) * np.eye(len(gram))
    return solve(gram + ridge, cross, assume_a="pos").astype(np.float32)


def _predict(
    parts: Sequence[Embedding], rows: NDArray[np.int64], coefficients: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Inferred unit vectors [rows, d]."""
    found = np.empty((len(rows), coefficients.shape[1]), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        found[start : start + len(part)] = _unit(_features(parts, part) @ coefficients)
    return found
