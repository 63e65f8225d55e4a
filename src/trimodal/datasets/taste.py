"""A simulated market with a planted taste: what decides a click differs by category, and is known. For tests.

Nothing in it was observed, and its products have no titles or pictures to look at: their vectors are drawn.

An item i has a point x_i in picture space, a point y_i in text space and an appeal z_i of its own, all standard
normal, each of the others unknown. A visitor u has a taste p_u in picture space and q_u in text space, directions of
length 1. In category c the three count by the planted importance w_c, shares that sum to 1:

    s(u, i) = sqrt(w_image) <p_u, x_i> + sqrt(w_text) <q_u, y_i> + sqrt(w_id) z_i
    P(click) = sigmoid(BASE + GAIN s(u, i))

Every s is standard normal, so no kind of category is easier than another. The tastes of a visitor show only in the
clicks of the categories that follow them, and the appeal of an item only in its own clicks. Events do not depend on
the history, and each visitor is shown items drawn evenly without repetition.

With the default sizes: popularity has an AUC of about .62, a plain predictor that is told the importance and compares
with the visitor's 30 earlier events one of about .75, and the planted score itself, which no history shows whole, .85.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..embeddings import Embedding, Provenance
from ..errors import DataError, check_int
from ..files import atomic
from ..ids import ProductIds

SOURCES = ("image", "text", "id")
"""What a click can follow; the columns of `TasteMarket.importance`."""
CATEGORIES = {"image": 3, "text": 3, "id": 2}
"""How many categories follow each source, and it alone."""
BASE = -0.7
GAIN = 1.8
"""With these, about 4 of 10 events are clicks, the planted score has an AUC of about .85, and popularity one of .6."""
LATENT = 2
"""Length of x_i, y_i, p_u and q_u: so short that the four or five earlier clicks of a kind show much of a taste."""
DIMENSIONS = {"image": 32, "text": 24}
NOISE = 0.25
"""Standard deviation of each number's noise in an item's vector, beside a planted part of length about 1.4."""
MISSING = {"image": 0.1, "text": 0.05}
"""Share of items without a vector, drawn evenly. Their clicks follow their points all the same."""
FIRST_DAY = 1_740_960_000_000_000
"""2025-03-03, in microseconds since 1970."""
DAYS = 30

_BLOCK = 4_000_000  # pairs of visitor and item drawn at once: bounds the memory


@dataclass(frozen=True, eq=False)
class TasteMarket:
    """A simulated market of n items, u visitors and e events, with the truth behind its clicks. Prints as a table.

    Attributes
    ----------
    items, users
        Ids of the n items and the u visitors.
    category
        int32 [n]: 1 + the item's position in `categories`; 0, for none, does not occur.
    categories
        Names of the categories, sorted.
    vectors
        By modality, `image` and `text`, the items' simulated vectors; some are missing.
    user, item
        int32 [e]: positions in `users` and `items`; by visitor, each in order of time.
    time
        int64 [e]: microseconds since 1970, UTC, rising strictly within a visitor.
    label
        uint8 [e]: 1 for a click.
    importance
        float64 [categories, 3]: the planted share of each of `SOURCES` in a category's clicks; rows sum to 1.
    oracle
        float64 [e]: the logit of P(click), from which the label was drawn: no predictor can do better.
    arguments
        What `simulate_taste` was called with.
    """

    items: ProductIds
    users: tuple[str, ...]
    category: NDArray[np.int32]
    categories: tuple[str, ...]
    vectors: Mapping[str, Embedding]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    label: NDArray[np.uint8]
    importance: NDArray[np.float64]
    oracle: NDArray[np.float64]
    arguments: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.user)

    def importance_of(self, source: str) -> NDArray[np.float64]:
        """Planted share of one of `SOURCES` in each event, by the category of its item: float64 [e]."""
        return self.importance[self.category[self.item] - 1, SOURCES.index(source)]

    @property
    def products(self) -> pl.DataFrame:
        """The products table: `product_id`, `title`, `category`."""
        return pl.DataFrame(
            {
                "product_id": list(self.items),
                "title": [f"Simulated product {number}" for number in range(1, len(self.items) + 1)],
                "category": [self.categories[place - 1] for place in self.category.tolist()],
            }
        )

    @property
    def clicks(self) -> pl.DataFrame:
        """The events table in order of time: `user_id`, `product_id`, `label`, `timestamp` (UTC)."""
        users = np.array(self.users, object)
        frame = pl.DataFrame(
            {
                "user_id": users[self.user].tolist(),
                "product_id": self.items.array[self.item].tolist(),
                "label": self.label,
                "timestamp": self.time,
            }
        )
        time = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
        return frame.sort("timestamp", maintain_order=True).with_columns(time)

    def write(self, folder: str | Path) -> None:
        """Write a data folder: `products.csv`, `clicks.csv`, `vectors/*.parquet`, and `truth.json` last.

        `clicks.csv` has no sessions and holds events that are not clicks, by `label`.

        Raises
        ------
        DataError
            `folder` is a file, or is not empty.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder} is a file or a folder that is not empty; name another one, or empty it.")
        (folder / "vectors").mkdir(parents=True)
        with atomic(folder / "products.csv") as temporary:
            self.products.write_csv(temporary)
        with atomic(folder / "clicks.csv") as temporary:
            self.clicks.write_csv(temporary, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        for name, embedding in self.vectors.items():
            embedding.write(folder / "vectors" / f"{name}.parquet")
        planted = {
            name: dict(zip(SOURCES, row, strict=True))
            for name, row in zip(self.categories, self.importance.tolist(), strict=True)
        }
        truth = {"kind": "trimodal simulated taste", "arguments": dict(self.arguments), "importance": planted}
        with atomic(folder / "truth.json") as temporary:
            temporary.write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        rows: dict[str, str] = {
            "products": f"{len(self.items):,}",
            "visitors": f"{len(self.users):,}",
            "events": f"{len(self):,}",
            "clicks": f"{self.label.mean():.1%}",
            **{f"have a vector, {name}": f"{vectors.coverage:.1%}" for name, vectors in self.vectors.items()},
        }
        lines = ["Simulated market with a planted taste", *(f"{name:<28}{text:>10}" for name, text in rows.items())]
        lines += ["", f"{'planted importance':<28}" + "".join(f"{source:>8}" for source in SOURCES)]
        for name, row in zip(self.categories, self.importance, strict=True):
            lines.append(f"  {name:<26}" + "".join(f"{share:>8.2f}" for share in row))
        return "\n".join(lines)


def simulate_taste(items: int = 600, users: int = 800, *, events_per_user: int = 40, seed: int = 0) -> TasteMarket:
    """Draw a simulated market whose clicks follow pictures, texts or the item itself, by category.

    Parameters
    ----------
    items, users
        How many; items at least `events_per_user` and one for each of the eight categories.
    events_per_user
        Different items that each visitor is shown.
    seed
        Decides every draw.

    Raises
    ------
    ParameterError
        An argument is outside its range.
    """
    events_per_user = check_int("events_per_user", events_per_user, low=1)
    items = check_int("items", items, low=max(events_per_user, sum(CATEGORIES.values())))
    users = check_int("users", users, low=1)
    seed = check_int("seed", seed, low=0)
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)]

    led_by = sorted(f"simulated-{source}-{n}" for source in SOURCES for n in range(1, CATEGORIES[source] + 1))
    importance = np.array([[float(f"-{source}-" in name) for source in SOURCES] for name in led_by])
    category = streams[0].permutation(np.arange(items) % len(led_by)).astype(np.int32)

    points = {source: streams[1].standard_normal((items, LATENT)) for source in DIMENSIONS}
    appeal = streams[1].standard_normal(items)
    tastes = {source: streams[2].standard_normal((users, LATENT)) for source in DIMENSIONS}
    for taste in tastes.values():
        taste /= np.linalg.norm(taste, axis=1, keepdims=True)

    ids = ProductIds(f"sim-p{number:06d}" for number in range(1, items + 1))
    vectors = {source: _seen(source, ids, points[source], streams[3]) for source in DIMENSIONS}

    user = np.repeat(np.arange(users), events_per_user)
    item = _shown(users, items, events_per_user, streams[4])
    affinity = np.stack(
        [np.einsum("ek,ek->e", tastes[source][user], points[source][item]) for source in DIMENSIONS] + [appeal[item]],
        axis=1,
    )
    oracle = BASE + GAIN * (np.sqrt(importance)[category[item]] * affinity).sum(1)
    label = streams[4].random(len(user)) < 1 / (1 + np.exp(-oracle))
    # Distinct seconds of the month, so that times within a visitor never tie.
    seconds = np.sort(streams[4].integers(0, DAYS * 86_400 - events_per_user, (users, events_per_user)), axis=1)
    seconds += np.arange(events_per_user)
    return TasteMarket(
        items=ids,
        users=tuple(f"sim-u{number:06d}" for number in range(1, users + 1)),
        category=category + np.int32(1),
        categories=tuple(led_by),
        vectors=vectors,
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        time=FIRST_DAY + seconds.reshape(-1) * 1_000_000,
        label=label.astype(np.uint8),
        importance=importance,
        oracle=oracle,
        arguments={"items": items, "users": users, "events_per_user": events_per_user, "seed": seed},
    )


def _seen(source: str, ids: ProductIds, points: NDArray[Any], rng: np.random.Generator) -> Embedding:
    """Vectors of one modality: the points, turned into a longer space, with noise, and some left out."""
    dimension = DIMENSIONS[source]
    view = np.linalg.qr(rng.standard_normal((dimension, LATENT)))[0].T
    vectors = (points @ view + NOISE * rng.standard_normal((len(ids), dimension))).astype(np.float32)
    kept = np.sort(rng.permutation(len(ids))[round(MISSING[source] * len(ids)) :])
    provenance = Provenance("simulated taste", settings={"latent": LATENT, "noise": NOISE})
    return Embedding.join(source, ids, ids.array[kept].tolist(), vectors[kept], provenance)


def _shown(users: int, items: int, each: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Different items for each visitor, evenly and in random order: int64 [users * each]."""
    block = max(1, _BLOCK // items)
    shown = np.empty((users, each), np.int64)
    for start in range(0, users, block):
        lots = rng.random((min(block, users - start), items))
        # The order that a partition leaves differs between processors, so it is sorted away, and one is dealt.
        first = np.sort(np.argpartition(lots, each - 1, axis=1)[:, :each], axis=1)
        shown[start : start + block] = rng.permuted(first, axis=1)
    return shown.reshape(-1)
