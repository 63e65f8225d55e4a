"""Recommender: encoders, fusion and search composed into `fit`, `similar`, `add`, `remove`, `refresh`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from . import persistence
from .catalog import Catalog
from .clicks import ClickLog
from .embeddings import Embedding, State
from .encoders import text as text_encoders
from .encoders.click import Prod2Vec, Prod2VecSettings, click_settings
from .encoders.image import DEFAULT_IMAGE
from .encoders.run import EncodingRun
from .encoders.shelf import EncoderShelf
from .errors import (
    DataError,
    NotFittedError,
    ParameterError,
    check_int,
    check_share,
)
from .fusion import Fusion, fusion_strategy
from .fusion.inferred import infer_clicks
from .progress import Progress, silent
from .results import Neighbor, SimilarProducts, write_neighbors
from .shaping import Facts, Shaping, shaped_neighbors, shaped_query


class Recommender:
    """Similar products by the fused distance of several modalities.

    Parameters
    ----------
    text, image
        Encoder names; see `trimodal.encoders.text_encoder` and `image_encoder`.
    click
        Preset of Prod2Vec's parameters.
    click_parameters
        Parameters of `Prod2VecSettings` that differ from the preset.
    fusion
        `intermediate` (the default), `early`, `late`, `adaptive`, `covisit` or `click-text`.
    modalities
        Which modalities to use, of `text`, `image`, `click` and the names given to `fit(vectors=...)`; None for
        all that the data has.
    weights
        Weight per modality in the fusion; those not named weigh 1.
    fusion_parameters
        Further parameters of the strategy by name, such as `covisits` of `covisit`.
    infer_clicks
        Infer the click vectors of products that have none from their other modalities (state `inferred`), at `fit`
        and `refresh`; nothing is inferred while fewer than ten have one. See `trimodal.fusion.inferred`.
    clusters
        K of late fusion; None for the number of categories in the catalogue (20 where it has none).
    seed
        Seed of everything random.
    device, batch_size
        Where the models of the encoders run, and how many items at once.
    allow_private_urls
        Let picture URLs reach private and loopback addresses.

    Attributes
    ----------
    catalog_, embeddings_, fusion_
        After `fit`: the products, an `Embedding` per modality, the fitted strategy.
    runs_
        What encoding did per modality (`EncodingRun`), the failures with their reasons among it.
    click_counts_
        Clicks per product in the last clean sessions, int64 [n].
    """

    def __init__(
        self,
        *,
        text: str = text_encoders.DEFAULT,
        image: str = DEFAULT_IMAGE,
        click: str = "paper",
        click_parameters: Mapping[str, Any] | None = None,
        fusion: str = "intermediate",
        modalities: Sequence[str] | None = None,
        weights: Mapping[str, float] | None = None,
        fusion_parameters: Mapping[str, Any] | None = None,
        infer_clicks: bool = False,
        clusters: int | None = None,
        seed: int = 0,
        device: str = "auto",
        batch_size: int | None = None,
        allow_private_urls: bool = False,
    ) -> None:
        self.text = text
        self.image = image
        self.click = click
        self.click_parameters = dict(click_parameters or {})
        self.fusion = fusion
        self.modalities = None if modalities is None else tuple(modalities)
        self.weights = dict(weights or {})
        self.fusion_parameters = dict(fusion_parameters or {})
        self.infer_clicks = infer_clicks
        self.clusters = clusters
        self.seed = seed
        self.device = device
        self.batch_size = batch_size
        self.allow_private_urls = allow_private_urls

    def settings(self) -> dict[str, Any]:
        """Constructor arguments that make an equal, unfitted recommender."""
        return {
            "text": self.text,
            "image": self.image,
            "click": self.click,
            "click_parameters": self.click_parameters,
            "fusion": self.fusion,
            "modalities": None if self.modalities is None else list(self.modalities),
            "weights": self.weights,
            "fusion_parameters": self.fusion_parameters,
            "infer_clicks": self.infer_clicks,
            "clusters": self.clusters,
            "seed": self.seed,
        }

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        catalog: Catalog,
        clicks: ClickLog | None = None,
        *,
        vectors: Mapping[str, Embedding] | None = None,
        store: str | Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Encode every modality, fuse, and be ready for `similar`.

        Parameters
        ----------
        catalog
            The products.
        clicks
            Clean sessions; None where there are none. Products of the catalogue that the log does not know are
            missing in the click modality.
        vectors
            Ready-made embeddings by modality: a modality of the user's own, or one of the three in place of its
            encoder.
        store
            Folder where encoded titles and pictures are kept, so that no run encodes them again.

        Raises
        ------
        DataError
            A modality that was asked for has no data, or not one picture can be read.
        """
        vectors = dict(vectors or {})
        names = self._choose(catalog, clicks, vectors)
        strategy = self._checked_strategy(catalog, names, clicks)  # a wrong setting must not cost hours of encoding
        if self.fusion == "click-text":
            names = [name for name in names if name in ("click", "text")]
        folder = None if store is None else Path(store)
        self.runs_: dict[str, EncodingRun] = {}
        embeddings: dict[str, Embedding] = {}
        for name in names:
            if name in vectors:
                embeddings[name] = vectors[name].aligned(catalog.ids)
                if not len(embeddings[name].vectors):
                    raise DataError(f"the vectors of {name!r} are for none of the products; do the ids agree?")
            elif name == "click":
                assert clicks is not None
                embeddings[name] = self._train(clicks, catalog, progress)
            else:
                run = self._shelf().encode(name, catalog, store=folder, progress=progress)
                self.runs_[name] = run
                if run.failures and not len(run.embedding.vectors):
                    first = run.failures[0]
                    raise DataError(
                        f"not one {name} could be encoded ({len(run.failures):,} failed); the first, {first.value!r} "
                        f"of product {first.product_id!r}: {first.reason}. Picture paths are relative to the products "
                        f"file; --modalities leaves {name} out."
                    )
                embeddings[name] = run.embedding
        if not any(len(e.vectors) for e in embeddings.values()):
            raise DataError(
                f"not one product has a vector in {', '.join(names)}; with clicks alone, products need "
                f"{self._click_settings().min_count} clicks in clean sessions (--click-option min_count=1)."
            )
        if self.infer_clicks:
            embeddings = infer_clicks(embeddings)
        with progress("fusing", None):
            strategy.fit(embeddings, catalog.ids, clicks=clicks)
        # Only now: what was fitted before stays whole if anything above fails.
        self.fusion_: Fusion = strategy
        self.embeddings_ = embeddings
        self.given_ = tuple(name for name in names if name in vectors)
        self.click_counts_ = np.zeros(len(catalog), np.int64) if clicks is None else _counts(clicks, catalog)
        self.catalog_ = catalog
        self.origin_: Path | None = None
        self.unchanged_: set[str] = set()
        return self

    def _checked_strategy(self, catalog: Catalog, names: Sequence[str], clicks: ClickLog | None) -> Fusion:
        """The strategy, unfitted, with every setting checked that does not need the vectors."""
        self._shelf()
        self._click_settings()
        strategy = self._strategy(catalog)
        strategy.choose(names)
        if strategy.needs_log and clicks is None:
            raise ParameterError(f"{self.fusion} needs the click log itself, not click vectors alone.")
        if self.infer_clicks and (self.fusion == "click-text" or "click" not in names or len(names) < 2):
            raise ParameterError(
                f"inferring clicks needs the modality 'click' and another one, and not click-text; "
                f"got {', '.join(names)} with {self.fusion}."
            )
        return strategy

    def _shelf(self) -> EncoderShelf:
        """The encoders, made with the settings as they are at first use."""
        if not hasattr(self, "_encoders"):
            self._encoders = EncoderShelf(
                self.text,
                self.image,
                device=self.device,
                batch_size=self.batch_size,
                allow_private_urls=self.allow_private_urls,
            )
        return self._encoders

    def _click_settings(self) -> Prod2VecSettings:
        return click_settings(self.click, **{"seed": self.seed, **self.click_parameters})

    def _choose(self, catalog: Catalog, clicks: ClickLog | None, vectors: Mapping[str, Embedding]) -> list[str]:
        for name in vectors:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", name):
                raise ParameterError(
                    f"modality name {name!r}, must be of a-z, 0-9, '-' and '_', at most 32 characters."
                )
        has = {
            "text": any(catalog.titles),
            "image": any(catalog.images),
            "click": clicks is not None and len(clicks) > 0,
        } | dict.fromkeys(vectors, True)
        if self.modalities is None:
            return [name for name, there in has.items() if there]
        for name in self.modalities:
            if name not in has:
                raise ParameterError(
                    f"unknown modality {name!r}, must be one of {', '.join(has)}; "
                    "vectors of your own are given by name (--vectors NAME=FILE)."
                )
            if not has[name]:
                wanted = {"text": "titles", "image": "a column 'image'", "click": "clean sessions of clicks"}[name]
                raise DataError(f"modality {name!r} was asked for, but the data has no {wanted}.")
        return list(dict.fromkeys(self.modalities))

    def _strategy(self, catalog: Catalog) -> Fusion:
        if self.clusters is not None:
            check_int("clusters", self.clusters, low=1)
            if self.fusion != "late":
                raise ParameterError(f"clusters go with late fusion, not with {self.fusion}.")
        if self.fusion == "click-text":
            if self.weights:
                raise ParameterError("click-text takes no weights: it uses one modality a product.")
            return fusion_strategy(self.fusion, **self.fusion_parameters)
        for name in ("weights", "clusters", "seed", "modalities"):
            if name in self.fusion_parameters:
                raise ParameterError(f"{name} is a parameter of the recommender itself, not of fusion_parameters.")
        settings: dict[str, Any] = {"weights": self.weights, **self.fusion_parameters}
        if self.fusion == "late":
            categories = catalog.frame["category"].drop_nulls().n_unique()
            settings |= {
                "clusters": self.clusters or (categories if categories > 1 else 20),
                "seed": self.seed,
            }
        return fusion_strategy(self.fusion, **settings)

    def _train(self, clicks: ClickLog, catalog: Catalog, progress: Progress) -> Embedding:
        if not (catalog.ids.find(clicks.ids) >= 0).any():
            raise DataError("the click log was read for other products: not one of its ids is in the catalogue.")
        return Prod2Vec(self._click_settings()).fit(clicks, progress=progress).aligned(catalog.ids)

    # ------------------------------------------------------------------ results

    def similar(self, product_id: str, k: int = 15, *, shaping: Shaping | None = None) -> SimilarProducts:
        """The k products nearest to one of the catalogue, itself left out.

        Parameters
        ----------
        shaping
            Caps, diversity and filters; None for the plain list. With diversity the order is that of choice.

        Raises
        ------
        UnknownProductError
            No such product.
        """
        self._check_fitted()
        position = self.catalog_.ids.positions([product_id])
        check_int("k", k, low=1)
        (_, places, distances), *_ = (
            self.fusion_.iter_neighbors(position, k)
            if shaping is None
            else shaped_neighbors(self.fusion_, self._facts(), position, k, shaping)
        )
        found = places[0][places[0] >= 0]
        shares = self.fusion_.shares(np.repeat(position, len(found)), found)
        return self._described(product_id, found, distances[0], shares)

    def similar_to(
        self,
        *,
        title: str | None = None,
        image: str | Path | None = None,
        vectors: Mapping[str, ArrayLike] | None = None,
        k: int = 15,
        shaping: Shaping | None = None,
    ) -> SimilarProducts:
        """The k products nearest to one that is not in the catalogue.

        Parameters
        ----------
        title, image
            Its title, and its picture's path or URL; either alone will do.
        vectors
            Its vector [d] in modalities that have no encoder here (or in place of one).
        shaping
            As in `similar`; nothing that compares with the product's own category, group or price.
        """
        self._check_fitted()
        given = dict(vectors or {})
        for name, value in (("text", title), ("image", image)):
            if value is None:
                continue
            if name in given:
                raise ParameterError(f"both a vector of {name} and a value to encode were given; give one.")
            if name not in self.embeddings_:
                raise ParameterError(f"modality {name!r} is not in this recommender: {', '.join(self.embeddings_)}.")
            if name in self.given_:
                raise ParameterError(
                    f"the vectors of {name!r} were ready-made; give similar_to(vectors={{{name!r}: ...}})."
                )
            given[name] = self._shelf().encode_one(name, str(value), like=self.embeddings_[name])
        found, distances, shares = (
            self.fusion_.query_positions(given, k)
            if shaping is None
            else shaped_query(self.fusion_, self._facts(), given, k, shaping)
        )
        return self._described(None, found, distances, shares)

    def write_neighbors(
        self, path: str | Path, k: int = 15, *, shaping: Shaping | None = None, progress: Progress = silent
    ) -> int:
        """Write the k neighbours of every product to a Parquet file, block by block; returns the rows written.

        Columns: `product_id`, `rank` (from 1), `neighbor_id`, `distance`, and `share_M` per modality M. `shaping` is
        as in `similar`.
        """
        self._check_fitted()
        facts = None if shaping is None else self._facts()
        return write_neighbors(self.fusion_, Path(path), k, shaping=shaping, facts=facts, progress=progress)

    def _facts(self) -> Facts:
        """What filters know of the products; made anew when the catalogue is another."""
        catalog, facts = getattr(self, "_kept_facts", (None, None))
        if facts is None or catalog is not self.catalog_:
            facts = Facts.of(self.catalog_)
            self._kept_facts = self.catalog_, facts
        return facts

    def _described(
        self,
        product_id: str | None,
        found: NDArray[np.int64],
        distances: NDArray[np.float32],
        shares: NDArray[np.float64],
    ) -> SimilarProducts:
        names = self.fusion_.modalities_
        neighbors = tuple(
            Neighbor(
                product_id=self.catalog_.ids[place],
                distance=float(distance),
                shares={name: float(s) for name, s in zip(names, share, strict=True)},
                state={name: State(self.embeddings_[name].state[place]).label for name in names},
            )
            for place, distance, share in zip(found.tolist(), distances[: len(found)], shares, strict=True)
        )
        return SimilarProducts(product_id, self.fusion_.name, neighbors)

    # ------------------------------------------------------------------ change

    def add(
        self,
        products: Catalog | pl.DataFrame | Iterable[Mapping[str, Any]],
        *,
        vectors: Mapping[str, Embedding] | None = None,
        store: str | Path | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Add products, or replace those of the same id; they have neighbours, and are neighbours, at once.

        Only their titles and pictures are encoded. A new product has no clicks, so its click modality is missing
        until `refresh` (or another `fit`), also where click vectors are inferred; one that is replaced keeps its click
        vector, even an inferred one, and every ready-made vector that `vectors` does not replace.

        Raises
        ------
        ParameterError
            The text or image vectors were ready-made, and `vectors` has none for the new products.
        """
        self._check_fitted()
        new = products if isinstance(products, Catalog) else Catalog.from_records(products)
        given = {name: e.aligned(new.ids) for name, e in (vectors or {}).items()}
        for name in self.given_:
            if name in ("text", "image") and name not in given:
                raise ParameterError(
                    f"the vectors of {name!r} were ready-made; give the new products' too: --vectors {name}=FILE."
                )
        for name in given:
            if name not in self.embeddings_:
                raise ParameterError(f"modality {name!r} is not in this recommender: {', '.join(self.embeddings_)}.")
        catalog = self.catalog_.extended(new)
        replaced = [product_id for product_id in new.ids if product_id in self.catalog_.ids]
        kept = self.catalog_.without(replaced).ids
        folder = None if store is None else Path(store)
        self.runs_ = {}
        embeddings = {}
        for name, old in self.embeddings_.items():
            encoded = name in ("text", "image") and name not in self.given_
            if name not in given and encoded:
                embeddings[name] = old.aligned(kept).aligned(catalog.ids)  # what is replaced is encoded anew
                if not any(new.titles if name == "text" else new.images):
                    continue
                run = self._shelf().encode(name, new, store=folder, like=old, progress=progress)
                self.runs_[name] = run
                fresh = run.embedding
            else:
                embeddings[name] = old.aligned(catalog.ids)
                if name not in given:
                    continue
                fresh = given[name]
                if not len(fresh.vectors):
                    raise DataError(f"the vectors of {name!r} are for none of these products; do the ids agree?")
            if fresh.dimension != old.dimension and len(fresh.vectors):
                raise DataError(f"vectors of {name!r} have {fresh.dimension} numbers, must have {old.dimension}.")
            embeddings[name] = embeddings[name].updated(fresh.aligned(catalog.ids))
        self._replace(catalog, embeddings)
        return self

    def without_modality(self) -> list[str]:
        """Products of which nothing is known, by vector or co-visit: they have no neighbours and are nobody's."""
        self._check_fitted()
        known = np.any([e.state > 0 for e in self.embeddings_.values()], axis=0)
        extra = self.fusion_._extra()
        if extra is not None:
            known |= extra
        return [self.catalog_.ids[i] for i in np.flatnonzero(~known)]

    def remove(self, ids: Iterable[str]) -> Self:
        """Remove products; they are nobody's neighbours any more. Raises `UnknownProductError` for one not there."""
        self._check_fitted()
        ids = [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
        self.catalog_.ids.positions(ids)
        if len(ids) == len(self.catalog_):
            raise ParameterError("these are all the products; a recommender needs at least one.")
        catalog = self.catalog_.without(ids)
        self._replace(catalog, {name: e.aligned(catalog.ids) for name, e in self.embeddings_.items()})
        return self

    def _replace(self, catalog: Catalog, embeddings: dict[str, Embedding]) -> None:
        old = self.catalog_.ids.find(catalog.ids)
        self.click_counts_ = np.where(old >= 0, self.click_counts_[old], 0)
        self.catalog_, self.embeddings_ = catalog, embeddings
        self.fusion_.place(embeddings, catalog.ids)
        self.unchanged_ = set()

    def refresh(self, clicks: ClickLog, *, min_coverage: float = 0.5, progress: Progress = silent) -> Self:
        """Train the click encoder on new sessions; titles and pictures are not touched.

        Parameters
        ----------
        clicks
            Clean sessions: the whole window that counts, since training starts afresh. Products of the
            catalogue that the log does not know are missing in the click modality.
        min_coverage
            Refuse, and change nothing, if the number of products with a click vector falls below this share
            of what it was: a broken log must not empty the shop's recommendations. 0 accepts everything.

        Raises
        ------
        DataError
            The log was read for other products, or covers too few.
        """
        self._check_fitted()
        check_share("min_coverage", min_coverage)
        if "click" in self.given_:
            raise ParameterError("the click vectors were ready-made; fit again with the new ones.")
        if "click" not in self.embeddings_ and self.modalities is not None:
            raise ParameterError("modality 'click' is not in this recommender; fit it with clicks.")
        fresh = self._train(clicks, self.catalog_, progress)
        before = int((self.embeddings_["click"].state == State.KNOWN).sum()) if "click" in self.embeddings_ else 0
        if len(fresh.vectors) < min_coverage * before or not len(fresh.vectors):
            raise DataError(
                f"the new clicks give {len(fresh.vectors):,} products a click vector, {before:,} had one; nothing was "
                "changed. Give a longer log, or accept it with --min-coverage 0."
            )
        embeddings = {**self.embeddings_, "click": fresh}
        if self.infer_clicks:
            embeddings = infer_clicks(embeddings)
        with progress("fusing", None):
            self.fusion_.fit(embeddings, self.catalog_.ids, only=("click",), clicks=clicks)
        self.embeddings_ = embeddings
        self.click_counts_ = _counts(clicks, self.catalog_)
        self.unchanged_.discard("click")
        return self

    # ------------------------------------------------------------------ on disk

    def save(self, bundle: str | Path, *, keep: int = 3) -> Path:
        """Publish as the current version of a bundle; returns the version's folder. See `trimodal.bundle`.

        Raises
        ------
        BundleError
            The recommender was loaded from this bundle, and another version has been published since.
        """
        self._check_fitted()
        bundle = Path(bundle)
        loaded = self.origin_ is not None and self.origin_.parent.resolve() == bundle.resolve()
        base = self.origin_.name if loaded and self.origin_ is not None else None
        version = persistence.save(self, bundle, keep, base)
        self.origin_, self.unchanged_ = version, set(self.embeddings_)
        return version

    @classmethod
    def load(cls, bundle: str | Path, *, verify: bool = True, device: str = "auto") -> Recommender:
        """Load the current version of a bundle; sizes are checked, and with `verify` every checksum."""
        return persistence.load(cls, Path(bundle), verify, device)

    # ------------------------------------------------------------------ inner workings

    def _check_fitted(self) -> None:
        if not hasattr(self, "fusion_"):
            raise NotFittedError("the recommender has no products; call fit(catalog, clicks) first.")

    def __repr__(self) -> str:
        if not hasattr(self, "fusion_"):
            return "Recommender(not fitted)"
        fused = ", ".join(self.fusion_.modalities_)
        return f"Recommender({len(self.catalog_):,} products, {self.fusion_.name} of {fused})"


def _counts(clicks: ClickLog, catalog: Catalog) -> NDArray[np.int64]:
    """Clicks per product of the catalogue: int64 [n]."""
    place = clicks.ids.find(catalog.ids)
    return np.where(place >= 0, clicks.counts()[place], 0)
