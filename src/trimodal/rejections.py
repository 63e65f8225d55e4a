"""The ledger of input that could not be used: which row of which file, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .errors import DataError

MAX_REJECTED = 0.1
"""Share of a file's rows that may be bad before reading it fails, unless the user says otherwise."""
KEEP_PER_REASON = 1000
"""How many rows of one reason are listed one by one; all of them are counted."""


@dataclass(frozen=True, order=True)
class Rejection:
    """One rejected row or value.

    `row` counts the records of the file from 1, the header of a CSV left out. `kept` says that only a
    value was rejected (a broken picture, an empty title): the product is there without that modality.
    """

    file: str
    row: int
    reason: str
    kept: bool = False


@dataclass
class Rejections:
    """Counts every rejected row by reason, and lists the first ones of each."""

    counts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    listed: list[Rejection] = field(default_factory=list)

    def add(self, file: str, rows: Iterable[int], reason: str, *, kept: bool = False, total: int | None = None) -> None:
        """Record rows under one reason; `total` when `rows` are only the first of more."""
        rows = list(rows)
        if not rows:
            return
        key = (file, reason, kept)
        room = max(0, KEEP_PER_REASON - self.counts[key])
        self.listed += [Rejection(file, int(row), reason, kept) for row in rows[:room]]
        self.counts[key] += len(rows) if total is None else total

    def extend(self, other: Rejections) -> None:
        """Take over what another ledger holds."""
        self.counts.update(other.counts)
        self.listed += other.listed

    @property
    def total(self) -> int:
        """Rejected rows and values together."""
        return sum(self.counts.values())

    def rows_lost(self, file: str) -> int:
        """Rows of a file that were kept out altogether."""
        return sum(n for (name, _, kept), n in self.counts.items() if name == file and not kept)

    def reasons(self) -> list[tuple[str, str, int]]:
        """(file, reason, count), most frequent first."""
        return [(file, reason, n) for (file, reason, _), n in self.counts.most_common()]

    def worst(self, file: str) -> str:
        """The most frequent reason why rows of a file were kept out, with its count."""
        lost = [(reason, n) for (name, reason, kept), n in self.counts.most_common() if name == file and not kept]
        return f"{lost[0][0]} ({lost[0][1]:,} rows)" if lost else "it has no rows"

    def __iter__(self) -> Iterator[Rejection]:
        return iter(sorted(self.listed))

    def __len__(self) -> int:
        return self.total

    def enforce(self, file: str, rows: int, max_rejected: float) -> None:
        """Raise `DataError` where more than the share `max_rejected` of a file's rows was kept out."""
        lost = self.rows_lost(file)
        if lost and lost > max_rejected * rows:
            raise DataError(
                f"{file}: {lost:,} of {rows:,} rows were rejected, more than the share of {max_rejected:g} allowed; "
                f"most often: {self.worst(file)}. "
                "`trimodal check` lists them; --max-rejected raises the limit."
            )
