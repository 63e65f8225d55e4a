"""CtrData: items, users and events in separate tables, joined by index; what a recipe makes and a model learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..errors import DataError
from ..files import atomic, sha256
from ..ids import ProductIds

PARTS = ("train", "valid", "test")
FORMAT = 1
_TABLES = "events.safetensors"
_NAMES = "names.json"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Events:
    """Impressions of one part: who was shown what, and whether it was clicked. Nothing is copied per event.

    Attributes
    ----------
    user, item
        int32 [n]: positions in the users and items of the data.
    label
        uint8 [n]: 1 for a click.
    seen
        int32 [n]: how many entries of the user's history precede the event; the history of event i is
        `history[starts[user[i]] : starts[user[i]] + seen[i]]`, oldest first.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    label: NDArray[np.uint8]
    seen: NDArray[np.int32]

    def __post_init__(self) -> None:
        if not len(self.user) == len(self.item) == len(self.label) == len(self.seen):
            raise DataError("the columns of a part's events differ in length.")

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Events:
        """The events at these rows, or where a mask is true."""
        return Events(self.user[rows], self.item[rows], self.label[rows], self.seen[rows])


@dataclass(frozen=True)
class CtrData:
    """Prepared data of a recipe.

    Attributes
    ----------
    items
        Product ids, n of them.
    users
        Ids of the u visitors.
    category
        int32 [n]: 0 where an item has none, else 1 + its position in `categories`.
    categories
        Names of the categories.
    history
        int32 [h]: all visitors' clicked items, one visitor after the other, each oldest first.
    starts
        int64 [u + 1]: where each visitor's clicks begin in `history`.
    parts
        `Events` of `train`, `valid` and `test`.
    manifest
        Recipe, its parameters, counts, hashes of the input; `manifest["fingerprint"]` names the data exactly.
    """

    items: ProductIds
    users: tuple[str, ...]
    category: NDArray[np.int32]
    categories: tuple[str, ...]
    history: NDArray[np.int32]
    starts: NDArray[np.int64]
    parts: Mapping[str, Events]
    manifest: Mapping[str, Any]

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return str(self.manifest["recipe"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all tables and ids, hexadecimal: equal exactly where the data are."""
        return str(self.manifest["fingerprint"])

    def trained(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which users and which items training sees, as event or in a history: bool [u], bool [n]."""
        train = self.parts["train"]
        users = np.zeros(len(self.users), bool)
        items = np.zeros(len(self.items), bool)
        users[train.user] = True
        items[train.item] = True
        longest = np.zeros(len(self.users), np.int64)
        np.maximum.at(longest, train.user, train.seen)
        place = np.arange(len(self.history)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        items[self.history[place < np.repeat(longest, np.diff(self.starts))]] = True
        return users, items

    def write(self, folder: Path) -> None:
        """Write to a folder: three files, each atomically, the manifest last."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MANIFEST).unlink(missing_ok=True)
        with atomic(folder / _TABLES) as temporary:
            save_file(dict(self._tables()), temporary)
        names = {"items": list(self.items), "users": list(self.users), "categories": list(self.categories)}
        with atomic(folder / _NAMES) as temporary:
            temporary.write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
        files = {name: sha256(folder / name) for name in (_TABLES, _NAMES)}
        manifest = {"format": FORMAT, **self.manifest, "files": files}
        with atomic(folder / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> CtrData:
        """Read a prepared folder.

        Raises
        ------
        DataError
            Not such a folder, of another format, or a file of it was changed.
        """
        folder = Path(folder)
        if not (folder / _MANIFEST).is_file():
            raise DataError(f"{folder} holds no prepared data ({_MANIFEST} is missing); make it: trimodal ctr prepare.")
        try:
            manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
            if manifest.pop("format") != FORMAT:
                raise DataError(f"{folder} is of another format version; prepare it again.")
            for name, expected in manifest.pop("files").items():
                if sha256(folder / name) != expected:
                    raise DataError(f"{folder / name} was changed since it was prepared; prepare it again.")
            names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
            tables = load_file(folder / _TABLES)
            parts = {part: Events(*(tables[f"{part}.{c}"] for c in _COLUMNS)) for part in PARTS}
            return cls(
                ProductIds(names["items"]), tuple(names["users"]), tables["category"], tuple(names["categories"]),
                tables["history"], tables["starts"], parts, manifest,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{folder} is not prepared data or is damaged ({error}); prepare it again.") from error

    def _tables(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield "category", self.category
        yield "history", self.history
        yield "starts", self.starts
        for part in PARTS:
            for column in _COLUMNS:
                yield f"{part}.{column}", getattr(self.parts[part], column)

    def hash(self) -> str:
        """The fingerprint of these tables and ids."""
        digest = hashlib.sha256()
        for name, table in self._tables():
            digest.update(f"{name} {table.dtype} {table.shape}".encode())
            digest.update(np.ascontiguousarray(table).data)
        for names in (self.items, self.users, self.categories):
            digest.update(json.dumps(list(names)).encode())
        return digest.hexdigest()


_COLUMNS = ("user", "item", "label", "seen")
