"""The clustering protocol: do the vectors of a strategy fall into the shop's categories? (the paper, section IV-B)

A strategy's products are laid out in two dimensions by t-SNE, clustered there by k-means++ with K = number of
categories, and compared with the categories by the adjusted Rand index (ARI): t-SNE on the vectors themselves
for early fusion, on the fused distances for intermediate and late fusion.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embeddings import Embedding, State
from ..encoders.base import available_threads
from ..errors import DataError, ParameterError, check_int
from ..fusion import AdaptiveFusion, EarlyFusion, Fusion, LateFusion, fusion_strategy
from ..ids import ProductIds
from ..progress import Progress, silent

PERPLEXITY = 30
RESTARTS = 10
_MANY, _FEWER_RESTARTS = 5000, 3
"""Above so many products, k-means on the vectors themselves, in hundreds of dimensions, has fewer restarts."""


@dataclass(frozen=True)
class ClusteringRow:
    """One cell of the paper's Table II: mean ARI over seeds, its lowest and highest, and the same without t-SNE."""

    modalities: tuple[str, ...]
    strategy: str
    categories: int
    products: int
    seeds: int
    ari: float
    ari_low: float
    ari_high: float
    ari_without_tsne: float


@dataclass(frozen=True)
class ClusteringTable:
    """Table II: modality subsets by strategies. Prints as a table.

    `chance` is the ARI of shuffled labels, mean of 100 shuffles; `skipped` counts products without a category or
    without some modality.
    """

    rows: tuple[ClusteringRow, ...]
    chance: float
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """Rows as dictionaries, and chance."""
        return {"rows": [asdict(row) for row in self.rows], "chance": self.chance, "skipped": self.skipped}

    def __str__(self) -> str:
        strategies = list(dict.fromkeys(row.strategy for row in self.rows))
        subsets = list(dict.fromkeys(row.modalities for row in self.rows))
        cell = {(row.modalities, row.strategy): row for row in self.rows}
        first = self.rows[0]
        lines = [
            f"ARI against {first.categories} categories, {first.products:,} products, mean of {first.seeds} seed(s)"
            + (", lowest to highest" if first.seeds > 1 else "")
            + "; below, the same without t-SNE",
            f"{'modalities':<24}" + "".join(f"{name:>22}" for name in strategies),
        ]
        for subset in subsets:
            found = [cell.get((subset, name)) for name in strategies]
            lines.append(f"{'+'.join(subset):<24}" + "".join(f"{_spread(row):>22}" for row in found))
            plain = ("" if row is None else f"{row.ari_without_tsne:.4f}" for row in found)
            lines.append(" " * 24 + "".join(f"{text:>22}" for text in plain))
        lines.append(f"{'chance':<24}{self.chance:>22.4f}")
        return "\n".join(lines)


@dataclass(frozen=True)
class ClusteringReport:
    """The paper's Tables II and III: the grid at one number of categories, and all modalities against click alone."""

    grid: ClusteringTable
    series: tuple[ClusteringTable, ...]

    def to_dict(self) -> dict[str, Any]:
        """The shape that `trimodal evaluate clustering --json` prints."""
        tables = (self.grid, *self.series)
        rows = [asdict(row) for table in tables for row in table.rows]
        chances = {str(table.rows[0].categories): table.chance for table in tables}
        skipped = self.grid.skipped
        return {"rows": rows, "chance": self.grid.chance, "chance_by_categories": chances, "skipped": skipped}

    def __str__(self) -> str:
        lines = [str(self.grid), ""]
        if self.series:
            first = self.series[0].rows
            lines.append("intermediate fusion by number of categories")
            heads = ["+".join(row.modalities) for row in first]
            lines.append(f"{'categories':>10}{'products':>10}" + "".join(f"{h:>24}" for h in heads) + f"{'chance':>10}")
        for table in self.series:
            cells = "".join(f"{_spread(row):>24}" for row in table.rows)
            row = table.rows[0]
            lines.append(f"{row.categories:>10}{row.products:>10,}{cells}{table.chance:>10.4f}")
        return "\n".join(lines)


def evaluate_clustering(
    embeddings: Mapping[str, Embedding],
    categories: Sequence[str | None],
    *,
    counts: Sequence[int] = (3, 20, 50),
    sample: int = 2000,
    seeds: int = 3,
    seed: int = 0,
    progress: Progress = silent,
) -> ClusteringReport:
    """Tables II and III. The k categories of a table are the k largest; a k that the data has not is left out.

    The grid is run at 20 categories if that is among `counts`, else at the first of them.
    """
    there = len({c for c in categories if c is not None})
    for count in counts:
        check_int("categories", count, low=2)
    usable = sorted({min(count, there) for count in counts})
    main = min(20, there) if 20 in counts else min(counts[0], there)
    shared = {"sample": sample, "seeds": seeds, "seed": seed, "progress": progress}
    grid = clustering_table(embeddings, categories, largest=main, **shared)  # type: ignore[arg-type]
    if "click" not in embeddings or len(embeddings) < 2:
        return ClusteringReport(grid, ())
    cells = [(tuple(embeddings), "intermediate"), (("click",), "intermediate")]
    series = []
    for count in usable:
        if count == main:  # the grid has these two already
            rows = [row for cell in cells for row in grid.rows if (row.modalities, row.strategy) == cell]
            series.append(ClusteringTable(tuple(rows), grid.chance, grid.skipped))
        else:
            series.append(clustering_table(embeddings, categories, largest=count, cells=cells, **shared))  # type: ignore[arg-type]
    return ClusteringReport(grid, tuple(series))


def clustering_table(
    embeddings: Mapping[str, Embedding],
    categories: Sequence[str | None],
    *,
    largest: int | None = None,
    cells: Sequence[tuple[tuple[str, ...], str]] | None = None,
    sample: int = 2000,
    seeds: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> ClusteringTable:
    """Run the protocol for every subset of the modalities and every strategy.

    Only products that have every modality and a category take part, so that all cells speak of the same
    products; of these a sample stratified by category.

    Parameters
    ----------
    embeddings
        Over the same product ids, n of them.
    categories
        Label per product [n], None where it has none.
    largest
        Keep the products of so many categories, the largest ones; None for all.
    cells
        Which (modalities, strategy) to run; None for all of them.
    sample
        How many products at most.
    seeds
        Repetitions of t-SNE and k-means, with other seeds.

    Raises
    ------
    DataError
        Fewer than two categories, or too few products, are left.
    """
    check_int("seeds", seeds, low=1)
    labels, complete = complete_products(embeddings, categories)
    chosen = complete if largest is None else of_largest(labels, complete, largest)
    chosen = stratified(labels, chosen, check_int("sample", sample, low=10), seed)
    names, truth = np.unique(labels[chosen].astype(str), return_inverse=True)
    if len(names) < 2 or len(chosen) < 10:
        raise DataError(
            f"the protocol needs at least two categories and ten products with every modality "
            f"({', '.join(embeddings)}); {len(chosen)} products in {len(names)} categories have them."
        )
    ids = next(iter(embeddings.values())).ids
    part = ProductIds([ids[i] for i in chosen])
    some = {name: e.aligned(part) for name, e in embeddings.items()}
    cells = _all_cells(tuple(some)) if cells is None else cells
    rows = []
    with progress(f"clustering, {len(names)} categories", len(cells) * seeds) as advance:
        for subset, name in cells:
            scores, plain = [], []
            for repeat in range(seed, seed + seeds):
                settings = {"clusters": len(names), "seed": repeat} if name == "late" else {}
                fusion = fusion_strategy(name, modalities=subset, **settings).fit(some)
                scores.append(protocol_ari(fusion, some, truth, seed=repeat))
                restarts = RESTARTS if len(part) <= _MANY else _FEWER_RESTARTS
                plain.append(_kmeans_ari(_features(fusion, some), truth, repeat, restarts))
                advance(1)
            rows.append(
                ClusteringRow(
                    modalities=subset,
                    strategy=name,
                    categories=len(names),
                    products=len(part),
                    seeds=seeds,
                    ari=float(np.mean(scores)),
                    ari_low=float(np.min(scores)),
                    ari_high=float(np.max(scores)),
                    ari_without_tsne=float(np.mean(plain)),
                )
            )
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    chance = float(np.mean([adjusted_rand_score(truth, rng.permutation(truth)) for _ in range(100)]))
    return ClusteringTable(tuple(rows), chance, len(labels) - len(complete))


def _all_cells(modalities: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """Every subset with the paper's strategies and `adaptive`.

    Late fusion of one modality is left out, as its clusters are the answer; so is adaptive, where it is intermediate.
    """
    subsets = [s for size in range(1, len(modalities) + 1) for s in combinations(modalities, size)]
    both = ("early", "intermediate", "late", "adaptive")
    return [(s, name) for s in subsets for name in (both if len(s) > 1 else both[:2])]


def complete_products(
    embeddings: Mapping[str, Embedding], categories: Sequence[str | None]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Label per product, "" where it has none, and the positions of products that have one and every modality.

    An inferred vector does not count: it would judge one modality by what others say.
    """
    if not embeddings:
        raise ParameterError("there is no embedding to evaluate.")
    ids = next(iter(embeddings.values())).ids
    if len(categories) != len(ids):
        raise ParameterError(f"{len(categories):,} categories for {len(ids):,} products.")
    labels = np.array(["" if c is None else c for c in categories], dtype=object)
    has_all = np.all([e.aligned(ids).state == State.KNOWN for e in embeddings.values()], axis=0)
    return labels, np.flatnonzero((labels != "") & has_all)


def of_largest(labels: NDArray[Any], among: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Those of some positions whose label is one of the `count` most frequent ones; ties by name."""
    if not len(among):
        return among
    names, sizes = np.unique(labels[among].astype(str), return_counts=True)
    kept = names[np.lexsort((names, -sizes))[:count]]
    return among[np.isin(labels[among].astype(str), kept)]


def protocol_ari(
    fusion: Fusion, embeddings: Mapping[str, Embedding], truth: NDArray[np.int64], *, seed: int = 0
) -> float:
    """ARI of one fitted strategy on products that have all its modalities, labels [n] in the order of `ids_`."""
    return _kmeans_ari(tsne_layout(fusion, embeddings, seed=seed), truth, seed)


def _kmeans_ari(points: NDArray[Any], truth: NDArray[np.int64], seed: int, restarts: int = RESTARTS) -> float:
    from sklearn.cluster import KMeans  # deferred: it takes a second to import
    from sklearn.metrics import adjusted_rand_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters: so be it
        means = KMeans(len(np.unique(truth)), init="k-means++", n_init=restarts, random_state=seed).fit(points)
    return float(adjusted_rand_score(truth, means.labels_))


def _features(fusion: Fusion, embeddings: Mapping[str, Embedding]) -> NDArray[np.float32]:
    """Vectors to cluster without t-SNE: [n, d].

    v itself for early fusion, as in its t-SNE; for the others, with equal weights, vectors whose squared Euclidean
    distance is proportional to the fused distance: concatenated unit vectors (scaled by their factor in the sum for
    adaptive), and one-hot clusters for late.
    """
    points = fusion.points_
    parts: list[NDArray[np.float32]] = []
    if isinstance(fusion, EarlyFusion):
        return fusion.vectors(embeddings, fusion.ids_)
    if isinstance(fusion, LateFusion):
        assert points.codes is not None
        parts = [np.eye(codes.max() + 1, dtype=np.float32)[codes] for codes in points.codes.T]
    elif isinstance(fusion, AdaptiveFusion):
        parts = [unit * np.float32(np.sqrt(f)) for unit, f in zip(points.units, fusion.factors, strict=True)]
    else:
        parts = list(points.units)
    features = np.concatenate(parts, axis=1)
    back = np.empty_like(features)
    back[points.order] = features
    return back


def _spread(row: ClusteringRow | None) -> str:
    if row is None:
        return "-"
    return f"{row.ari:.4f}" if row.seeds == 1 else f"{row.ari:.4f} ({row.ari_low:.3f}-{row.ari_high:.3f})"


def tsne_layout(fusion: Fusion, embeddings: Mapping[str, Embedding], *, seed: int = 0) -> NDArray[np.float64]:
    """Lay out a strategy's products in two dimensions: float64 [n, 2].

    t-SNE needs the 3 x perplexity nearest products of each, never all pairs: Euclidean on v for early fusion,
    the fused distance for the others. Late fusion's distance takes few values, so which of the tied products are
    among the nearest is decided by the distance of intermediate fusion; a matrix of all pairs would leave that to
    the order of the products.
    """
    from openTSNE import TSNEEmbedding, affinity, initialization
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    n = len(fusion.ids_)
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    # Each point's forces are summed by one thread, so the number of threads changes nothing but the time.
    jobs = available_threads() if n > _MANY else 1
    k = min(n - 1, int(3 * perplexity))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(fusion, EarlyFusion):
            near, distance = _euclidean_neighbors(fusion.vectors(embeddings, fusion.ids_), k)
        else:
            found = fusion.neighbors(k=k)
            near = fusion.ids_.find(found.ids.ravel()).reshape(n, k)
            distance = found.distances.astype(np.float64)
        affinities = affinity.PerplexityBasedNN(
            knn_index=PrecomputedNeighbors(near, distance), perplexity=perplexity, random_state=seed, n_jobs=jobs
        )
        start = initialization.spectral(affinities.P, random_state=seed)
        layout = TSNEEmbedding(start, affinities, random_state=seed, negative_gradient_method="auto", n_jobs=jobs)
        layout = layout.optimize(250, exaggeration=12, momentum=0.5)
        layout = layout.optimize(500, momentum=0.8)
    return np.asarray(layout)


def _euclidean_neighbors(vectors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    from sklearn.neighbors import NearestNeighbors

    distance, near = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(vectors).kneighbors(vectors)
    # A product need not come first among its own equals: take out its own row wherever it stands.
    own = near == np.arange(len(vectors))[:, None]
    own[~own.any(1), -1] = True
    return near[~own].reshape(-1, k), distance[~own].reshape(-1, k).astype(np.float64)


def stratified(labels: NDArray[Any], among: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """At most `size` of some positions, each label with its share of them; ascending."""
    if len(among) <= size:
        return among
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(among)
    order = np.argsort(labels[shuffled].astype(str), kind="stable")
    # Every (n / size)-th of the products sorted by label: each label keeps its share, to within one.
    steps = (np.arange(size) * (len(among) / size)).astype(np.int64)
    return np.sort(shuffled[order[steps]])
