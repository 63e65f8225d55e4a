"""Ranker: a trained model with its encoded items, which predicts clicks without the training data."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..embeddings import usable_rows
from ..errors import DataError, ParameterError, UnknownProductError, check_choice
from ..ids import ProductIds
from .batches import ItemRows
from .models.base import CtrModel, Encoded
from .ranker_files import RankerFiles
from .ranking import Ranking

UNKNOWN = ("raise", "skip")
"""What to do with a candidate that the ranker does not know."""
_BLOCK = 1024  # candidates scored at once: bounds the memory


@dataclass(frozen=True)
class _Added:
    """Items that came after training: their rows, counted on from the artefact's, and their encoded side."""

    row: Mapping[str, int]
    encoded: Encoded


class Ranker:
    """A trained model and all that scoring needs of the items; `load` it from a folder that `write_ranker` wrote.

    Scoring may go on in several threads, also while items are added.

    Attributes
    ----------
    model
        The model, in evaluation.
    ids
        The items of the artefact, n of them.
    encoded
        Their item side, by name [n, ...].
    manifest
        Model, options, settings, metrics, and where data and features come from.
    skipped
        Products that scoring left out as unknown since the ranker was loaded, by `history` and `candidates`.
    """

    def __init__(self, model: CtrModel, files: RankerFiles) -> None:
        self.model = model.eval()
        self.encoded = files.encoded
        self.manifest = files.manifest
        self.ids = ProductIds(files.names["items"])
        self.skipped: Counter[str] = Counter()
        self._user = {name: row for row, name in enumerate(files.names["users"], 1)}
        self._category = {name: row for row, name in enumerate(files.names["categories"], 1) if name}
        self._added = _Added({}, {name: tensor[:0] for name, tensor in files.encoded.items()})
        self._adding = threading.Lock()
        self._device = next(model.parameters()).device
        self._max_history = int(files.manifest["settings"]["max_history"]) if model.uses_history else 0

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu") -> Ranker:
        """Load the artefact of `write_ranker`; every checksum is checked.

        Raises
        ------
        DataError
            Not a ranker, of another format, or damaged.
        """
        folder = Path(folder)
        files = RankerFiles.read(folder, device=device)
        try:
            ranker = cls(files.model(), files)
            if {len(tensor) for tensor in files.encoded.values()} != {len(ranker.ids)}:
                raise DataError("ids and encoded items differ in number")
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, DataError) as error:
            raise DataError(f"{folder} is a ranker that cannot be loaded ({error}); train it again.") from error
        return ranker

    # ------------------------------------------------------------------ what it knows

    @property
    def modalities(self) -> dict[str, int]:
        """Length of a vector, by modality that the model was trained with."""
        return dict(self.model.inputs.modalities)

    def __len__(self) -> int:
        return len(self.ids) + len(self._added.row)

    def __contains__(self, product_id: object) -> bool:
        return product_id in self.ids or product_id in self._added.row

    def knows_visitor(self, visitor: str | None) -> bool:
        """Whether training saw a visitor; one that it did not see is scored by the history alone."""
        return visitor in self._user

    # ------------------------------------------------------------------ results

    def score(
        self, candidates: Sequence[str], history: Sequence[str] = (), *, visitor: str | None = None,
        unknown: str = "raise",
    ) -> NDArray[np.float32]:  # fmt: skip
        """Probability that a visitor clicks each candidate, float32 [n].

        Parameters
        ----------
        candidates
            n product ids.
        history
            Products that the visitor clicked, oldest first. The latest that the ranker knows are used, as many as in
            training; others are skipped and counted in `skipped`.
        visitor
            Her id; one that training did not see, and None, are a visitor of whom only the history is known.
        unknown
            A candidate that the ranker does not know: `raise`, or `skip`, which gives it NaN and counts it.

        Raises
        ------
        UnknownProductError
            The ranker does not know a candidate, and `unknown` is `raise`.
        """
        return self._scored(candidates, history, visitor, unknown)[0]

    def rank(
        self, candidates: Sequence[str], history: Sequence[str] = (), *, visitor: str | None = None,
        unknown: str = "raise", k: int | None = None,
    ) -> Ranking:  # fmt: skip
        """Candidates by click probability, the most likely first, ties in the order given; the first k if asked.

        Parameters are those of `score`; a candidate that is skipped is left out.
        """
        candidates = _listed(candidates)
        chances, skipped = self._scored(candidates, history, visitor, unknown)
        kept = np.flatnonzero(~np.isnan(chances))
        order = kept[np.argsort(-chances[kept], kind="stable")][:k]
        products = tuple(candidates[i] for i in order)
        return Ranking(products, tuple(chances[order].tolist()), visitor, self.knows_visitor(visitor), skipped)

    def _scored(
        self, candidates: Sequence[str], history: Sequence[str], visitor: str | None, unknown: str
    ) -> tuple[NDArray[np.float32], dict[str, int]]:
        check_choice("unknown", unknown, UNKNOWN)
        added = self._added
        candidates, history = _listed(candidates), _listed(history)
        wanted, clicked = self._find(candidates, added), self._find(history, added)
        here = wanted >= 0
        if unknown == "raise" and not here.all():
            names = [candidates[i] for i in np.flatnonzero(~here)]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UnknownProductError(
                f"candidate {', '.join(map(repr, names[:3]))}{more} is not among the {len(self):,} products of the "
                "ranker; add it with its vectors, or skip it: unknown='skip'."
            )
        skipped = {"history": int((clicked < 0).sum()), "candidates": int((~here).sum())}
        self.skipped.update(skipped)
        clicked = clicked[clicked >= 0]
        clicked = clicked[max(len(clicked) - self._max_history, 0) :]
        chances = np.full(len(candidates), np.nan, np.float32)
        chances[here] = self._probabilities(wanted[here], clicked, self._user.get(visitor or "", 0), added)
        return chances, skipped

    def _probabilities(
        self, wanted: NDArray[np.int64], clicked: NDArray[np.int64], user: int, added: _Added
    ) -> NDArray[np.float32]:
        parts = []
        length = max(len(clicked), 1)  # an empty history is one that is masked, as in training
        mask = torch.full((1, length), bool(len(clicked)), device=self._device)
        for start in range(0, len(wanted), _BLOCK):
            block = wanted[start : start + _BLOCK]
            with torch.inference_mode():
                # Only the rows that are asked about, so that the model gathers from a table that fits the cache.
                encoded = self._rows(np.concatenate([block, clicked if len(clicked) else block[:1]]), added)
                place = torch.arange(len(block) + length, device=self._device)
                logits = self.model.score(
                    encoded,
                    torch.full((1,), user, device=self._device).expand(len(block)),
                    place[: len(block)],
                    place[None, len(block) :],
                    mask,
                )
                parts.append(logits.float().sigmoid().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def _find(self, ids: Sequence[str], added: _Added) -> NDArray[np.int64]:
        """Rows of products, -1 where unknown."""
        found = self.ids.find(ids)
        if added.row:
            for place in np.flatnonzero(found < 0).tolist():
                found[place] = added.row.get(ids[place], -1)
        return found

    def _rows(self, rows: NDArray[np.int64], added: _Added) -> Encoded:
        """The encoded side of items, by name [m, ...]."""
        late = np.flatnonzero(rows >= len(self.ids))
        index = torch.from_numpy(np.minimum(rows, len(self.ids) - 1)).to(self._device)
        encoded = {name: tensor.index_select(0, index) for name, tensor in self.encoded.items()}
        if len(late):
            place = torch.from_numpy(late).to(self._device)
            extra = torch.from_numpy(rows[late] - len(self.ids)).to(self._device)
            for name, tensor in encoded.items():
                tensor.index_copy_(0, place, added.encoded[name].index_select(0, extra))
        return encoded

    # ------------------------------------------------------------------ new items

    def add(
        self, product_id: str, vectors: Mapping[str, ArrayLike] | None = None, *, category: str | None = None
    ) -> None:
        """Take in an item that training did not see, in memory: its vectors and category speak for it, no id.

        Parameters
        ----------
        vectors
            Its vector [d] in any of `modalities`, of the encoder that the training had; those not given are missing.
        category
            Its category; one that the prepared data do not have is as good as none.

        Raises
        ------
        ParameterError
            The artefact holds this item, or a vector is of no modality of the model, of another length, zero or not
            finite.
        """
        if not isinstance(product_id, str) or not product_id:
            raise ParameterError(f"product_id == {product_id!r}, must be a non-empty string.")
        if product_id in self.ids:
            raise ParameterError(f"product {product_id!r} is in the ranker since its training; it cannot be added.")
        item = self._cold(dict(vectors or {}), self._category.get(category or "", 0))
        with self._adding, torch.inference_mode():
            encoded = self.model.encode(item)
            old = self._added
            row = {**old.row, product_id: len(self.ids) + len(next(iter(old.encoded.values())))}
            self._added = _Added(row, {name: torch.cat([old.encoded[name], encoded[name]]) for name in encoded})

    def _cold(self, vectors: Mapping[str, ArrayLike], category: int) -> ItemRows:
        for name in vectors:
            if name not in self.modalities:
                known = ", ".join(self.modalities) or "none"
                raise ParameterError(f"modality {name!r} is not one that the model was trained with: {known}.")
        features, present = {}, {}
        for name, length in self.modalities.items():
            vector = np.zeros(length, np.float32)
            if name in vectors:
                vector = np.asarray(vectors[name], np.float32).reshape(-1)
                if len(vector) != length:
                    raise ParameterError(f"a vector of {name} has {len(vector)} numbers, must have {length}.")
                if not usable_rows(vector[None])[0]:
                    raise ParameterError(f"vector of {name} must be finite numbers, not all 0.")
                vector = vector / np.float32(self.manifest["features"][name]["scale"])
            features[name] = torch.from_numpy(vector)[None].to(self._device)
            present[name] = torch.tensor([name in vectors], device=self._device)
        unknown = torch.zeros(1, dtype=torch.int64, device=self._device)
        return ItemRows(unknown, unknown + category, features, present)

    def __repr__(self) -> str:
        return f"Ranker({self.model.name}, {len(self):,} products, {len(self._user):,} visitors)"


def _listed(ids: Sequence[str]) -> list[str]:
    return [ids] if isinstance(ids, str) else list(ids)
