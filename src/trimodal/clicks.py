"""ClickLog: raw click events become clean sessions, in one Daft plan that a cluster can run as well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import daft
import numpy as np
import polars as pl
import pyarrow as pa
from daft import DataType, col, lit
from daft.functions import monotonically_increasing_id, when
from numpy.typing import NDArray

from .errors import DataError, check_int, check_share
from .ids import ProductIds
from .rejections import KEEP_PER_REASON, MAX_REJECTED, Rejections
from .tables import ROW, read_table, require_columns

REQUIRED = ("session_id", "product_id", "timestamp")
EVENTS = ("click", "jump")
MIN_CLICKS, MAX_CLICKS = 2, 184
"""Limits of the paper's Table I."""
LONGEST = 10_000
"""Highest limit that can be set: gensim cuts what is longer."""

_EARLIEST, _LATEST = 631_152_000_000_000, 4_102_444_800_000_000  # 1990 to 2100, in microseconds
_REASONS = {
    1: "session_id is empty",
    2: "product_id is empty",
    3: "product is not in the catalogue",
    4: "timestamp does not parse; ISO 8601 or seconds, milliseconds or microseconds since 1970 are understood",
    5: "timestamp is before 1990 or after 2100",
    6: f"event is neither of {', '.join(EVENTS)}",
}


@dataclass(frozen=True)
class Cleaning:
    """What cleaning did, in clicks and sessions. Every row of the file that is kept is in exactly one of the first six.

    Attributes
    ----------
    clicks
        Clicks in the clean sessions.
    repeats
        Clicks on the same product as the click before it, collapsed.
    too_short, too_long
        Clicks of sessions with fewer or more clicks than the limits, left out whole.
    shown
        Impressions that were not clicked (`label` 0); they are counted, not clicks.
    jumps
        Events that leave to the shop; they are counted, not clicks.
    sessions_too_short, sessions_too_long
        How many sessions those were.
    sessions_unsorted
        Sessions whose rows did not stand in the order of time; they were sorted.
    sessions_shared
        Sessions with clicks of more than one `user_id`; the first one by name is kept.
    """

    clicks: int
    repeats: int
    too_short: int
    too_long: int
    shown: int
    jumps: int
    sessions_too_short: int
    sessions_too_long: int
    sessions_unsorted: int
    sessions_shared: int


@dataclass(frozen=True)
class SessionStatistics:
    """The paper's Table I for a click log, after cleaning."""

    products: int
    clicks: int
    visitors: int | None
    sessions: int
    min_clicks: int
    max_clicks: int
    mean_clicks: float


class ClickLog:
    """Clean anonymous sessions over the products of a catalogue.

    Attributes
    ----------
    ids
        The catalogue's product ids, n of them.
    sessions
        One row a session, in order of time: `session_id`, `user_id` (where the input has it), `started`
        and `ended` (UTC, microseconds), `products` (list of int32 positions in `ids`, runs of the same
        product collapsed).
    cleaning, rejections, records
        What cleaning did; rows kept out, with reasons; rows of the file.
    """

    def __init__(
        self,
        ids: ProductIds,
        sessions: pl.DataFrame,
        *,
        cleaning: Cleaning,
        rejections: Rejections,
        records: int,
        file: str,
    ) -> None:
        self.ids = ids
        self.sessions = sessions
        self.cleaning = cleaning
        self.rejections = rejections
        self.records = records
        self.file = file

    @classmethod
    def read(
        cls,
        path: str | Path,
        ids: ProductIds,
        *,
        min_clicks: int = MIN_CLICKS,
        max_clicks: int = MAX_CLICKS,
        encoding: str = "utf-8",
        max_rejected: float = MAX_REJECTED,
    ) -> ClickLog:
        """Read a clicks file and clean it into sessions over the products `ids`.

        Clicks are ordered by time inside a session, ties by their order in the file. Runs of the same
        product collapse to one click, then sessions outside [min_clicks, max_clicks] are left out.

        Raises
        ------
        DataError
            No such file, a required column is missing, or more than `max_rejected` of the rows is bad.
        """
        path = Path(path)
        rejections = Rejections()
        if path.suffix == ".parquet":
            if not path.is_file():
                raise DataError(f"{path} does not exist.")
            try:
                # A file of Daft's own reading streams; row numbers follow the file's order.
                events = daft.read_parquet(str(path))
                names = events.column_names
            except Exception as error:
                raise DataError(f"{path.name} cannot be read as Parquet: {error}") from error
            require_columns(path.name, names, REQUIRED)
            events = events.with_column(ROW, monotonically_increasing_id() + 1)
            unreadable = 0
        else:
            text = ("session_id", "product_id", "user_id", "event", "label")
            table, records = read_table(path, rejections, required=REQUIRED, text=text, encoding=encoding)
            unreadable = records - table.height
            kept = [name for name in (*REQUIRED, "user_id", "event", "label", ROW) if name in table.columns]
            events = daft.from_arrow(table.select(kept).to_arrow())
        return cls.from_events(
            events,
            ids,
            min_clicks=min_clicks,
            max_clicks=max_clicks,
            max_rejected=max_rejected,
            file=path.name,
            rejections=rejections,
            unreadable=unreadable,
        )

    @classmethod
    def from_events(
        cls,
        events: daft.DataFrame,
        ids: ProductIds,
        *,
        min_clicks: int = MIN_CLICKS,
        max_clicks: int = MAX_CLICKS,
        max_rejected: float = MAX_REJECTED,
        file: str = "clicks",
        rejections: Rejections | None = None,
        unreadable: int = 0,
    ) -> ClickLog:
        """Clean click events of any Daft source into sessions: the clicks file's columns, and a unique `ROW`."""
        check_int("min_clicks", min_clicks, low=1)
        check_int("max_clicks", max_clicks, low=min_clicks, high=LONGEST)
        check_share("max_rejected", max_rejected)
        rejections = Rejections() if rejections is None else rejections
        plan = check_events(events, ids, file)
        try:
            checked = plan.collect()
        except Exception as error:  # Daft has no one class for a file that is damaged inside
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise DataError(f"{file} cannot be read: {reason}") from error

        bad = checked.where(col("problem") > 0)
        for code, n in sorted(_pairs(bad.groupby("problem").agg(col(ROW).count()))):
            first = bad.where(col("problem") == code).select(ROW).sort(ROW).limit(KEEP_PER_REASON)
            rejections.add(file, first.to_arrow()[ROW].to_pylist(), _REASONS[code], total=n)
        records = checked.count_rows() + unreadable
        rejections.enforce(file, records, max_rejected)

        good = checked.where(col("problem") == 0)
        shown = good.where(col("shown")).count_rows()
        clicks = good.where(~col("shown"))
        jumps = clicks.where(col("jump")).count_rows()
        frame = pl.from_arrow(clean_sessions(clicks.where(~col("jump"))).to_arrow())
        assert isinstance(frame, pl.DataFrame)
        length = frame["products"].list.len()
        short, long = length < min_clicks, length > max_clicks
        cleaning = Cleaning(
            clicks=int(length.filter(~short & ~long).sum()),
            repeats=int(frame["clicks"].sum()) - int(length.sum()),
            too_short=int(length.filter(short).sum()),
            too_long=int(length.filter(long).sum()),
            shown=shown,
            jumps=jumps,
            sessions_too_short=int(short.sum()),
            sessions_too_long=int(long.sum()),
            sessions_unsorted=int(frame["unsorted"].sum()),
            sessions_shared=int((frame["user_id"] != frame["last_user"]).sum()) if "user_id" in frame.columns else 0,
        )
        stamp = pl.Datetime("us", "UTC")
        sessions = (
            frame.filter(~short & ~long)
            .drop("clicks", "unsorted", "last_user", strict=False)
            .with_columns(pl.col("started").cast(stamp), pl.col("ended").cast(stamp))
            .sort("started", "session_id")
        )
        return cls(ids, sessions, cleaning=cleaning, rejections=rejections, records=records, file=file)

    def __len__(self) -> int:
        return self.sessions.height

    def __repr__(self) -> str:
        return f"ClickLog({len(self):,} sessions, {self.cleaning.clicks:,} clicks)"

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """All clicks end to end: product positions int32 [clicks], session bounds int64 [sessions + 1]."""
        lists = self.sessions["products"].rechunk()
        bounds = np.zeros(len(lists) + 1, np.int64)
        np.cumsum(lists.list.len().to_numpy(), out=bounds[1:])
        return lists.explode(empty_as_null=False).to_numpy().astype(np.int32, copy=False), bounds

    def __iter__(self) -> Iterator[list[str]]:
        """Sessions as lists of product ids: the sentences of Prod2Vec."""
        clicks, bounds = self.arrays()
        names = self.ids.array
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            yield names[clicks[start:stop]].tolist()

    def split(self, share: float = 0.2) -> tuple[ClickLog, ClickLog]:
        """The earlier sessions, and the last `share` of them: for training, and for questions about the future.

        `cleaning` and `rejections` of both speak of the whole log.
        """
        check_share("share", share)
        cut = len(self) - round(share * len(self))
        return self._with(self.sessions[:cut]), self._with(self.sessions[cut:])

    def keep(self, kept: NDArray[np.bool_]) -> ClickLog:
        """The log with some clicks alone, bool [clicks] in the order of `arrays`.

        Runs of the same product that come about collapse, and sessions with fewer than two clicks are left out.
        """
        clicks, bounds = self.arrays()
        session = np.repeat(np.arange(len(self)), np.diff(bounds))
        clicks, session = clicks[kept], session[kept]
        new = np.ones(len(clicks), bool)
        new[1:] = (clicks[1:] != clicks[:-1]) | (session[1:] != session[:-1])
        clicks, session = clicks[new], session[new]
        length = np.bincount(session, minlength=len(self))
        inside = length[session] >= MIN_CLICKS
        ends = np.concatenate([[0], np.cumsum(length[length >= MIN_CLICKS])])
        lists = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(clicks[inside]))
        products = pl.from_arrow(lists)
        assert isinstance(products, pl.Series)
        sessions = self.sessions.filter(pl.Series(length >= MIN_CLICKS)).with_columns(products.alias("products"))
        return self._with(sessions)

    def _with(self, sessions: pl.DataFrame) -> ClickLog:
        """The same log with other sessions."""
        return ClickLog(
            self.ids,
            sessions,
            cleaning=self.cleaning,
            rejections=self.rejections,
            records=self.records,
            file=self.file,
        )

    def counts(self) -> NDArray[np.int64]:
        """Clicks per product in the clean sessions: int64 [n]."""
        return np.bincount(self.arrays()[0], minlength=len(self.ids)).astype(np.int64)

    def statistics(self) -> SessionStatistics:
        """The paper's Table I."""
        length = self.sessions["products"].list.len()
        empty = length.is_empty()
        return SessionStatistics(
            products=int((self.counts() > 0).sum()),
            clicks=int(length.sum()),
            visitors=self.sessions["user_id"].drop_nulls().n_unique() if "user_id" in self.sessions.columns else None,
            sessions=len(self),
            min_clicks=0 if empty else int(length.min()),  # type: ignore[arg-type]
            max_clicks=0 if empty else int(length.max()),  # type: ignore[arg-type]
            mean_clicks=0.0 if empty else float(length.mean()),  # type: ignore[arg-type]
        )


def parse_timestamps(values: pl.Series) -> pl.Series:
    """Microseconds since 1970 UTC, int64, null where a value does not parse.

    Understood: datetimes; ISO 8601 with `T` or a space, fractions, a zone (none: UTC); a date alone;
    whole or decimal seconds, and whole milli-, micro- or nanoseconds, told apart by their size.
    """
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        moment = pl.col("v").cast(pl.Datetime("us"))
        return values.to_frame("v").select(moment.dt.epoch("us"))["v"]
    if not (values.dtype == pl.String or values.dtype.is_numeric()):
        raise DataError(f"clicks: column 'timestamp' is of type {values.dtype}, must be a time, text or a number.")
    frame = values.alias("v").to_frame()
    if values.dtype == pl.String:
        frame = frame.select(pl.col("v").str.strip_chars())
    number = pl.col("v").cast(pl.Float64, strict=False)
    size = number.abs()
    scale = pl.when(size < 1e11).then(1e6).when(size < 1e14).then(1e3).when(size < 1e17).then(1.0).otherwise(1e-3)
    numeric = (number * scale).round().cast(pl.Int64, strict=False)
    if values.dtype.is_numeric():
        return frame.select(numeric.alias("v"))["v"]
    text = pl.col("v").str.replace(" ", "T", literal=True)

    def attempt(form: str) -> pl.Expr:
        return text.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("us")

    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.epoch("us")
    forms = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
    return frame.select(pl.coalesce(*map(attempt, forms), numeric, day).alias("v"))["v"]


def check_events(events: daft.DataFrame, ids: ProductIds, file: str = "clicks") -> daft.DataFrame:
    """Check raw events against a catalogue, lazily; columns of a wrong type raise `DataError` at once.

    Returns the columns `ROW`, `session_id` (text), `product` (int32 position in `ids`), `time` (int64
    microseconds), `jump` and `shown` (bool; shown: the label is 0), `problem` (int8, 0: none, else a key of the
    reasons) and, where the input has it, `user_id` (text).
    """
    names = events.column_names
    for name in ("session_id", "product_id", "user_id", "event"):
        if name in names:
            dtype = events.schema()[name].dtype
            if not (dtype.is_string() or dtype.is_integer() or dtype.is_null()):
                raise DataError(
                    f"{file}: column {name!r} is of type {dtype}, must be text or whole numbers; write it as text."
                )
    dtype = events.schema()["timestamp"].dtype
    if not (
        dtype.is_string() or dtype.is_integer() or dtype.is_null() or dtype in (DataType.float32(), DataType.float64())
    ) and not (dtype.is_timestamp() or dtype.is_date()):
        raise DataError(f"{file}: column 'timestamp' is of type {dtype}, must be a time, text or a number.")

    @daft.func.batch(return_dtype=DataType.int64())
    def microseconds(values: daft.Series) -> pa.Array:
        series = pl.from_arrow(values.to_arrow())
        assert isinstance(series, pl.Series)
        return parse_timestamps(series).to_arrow()

    def text(name: str) -> daft.Expression:
        return col(name).cast(DataType.string()).strip()

    known = daft.from_arrow(
        pa.table({"product_id": pa.array(list(ids)), "product": pa.array(np.arange(len(ids), dtype=np.int32))})
    )
    event = text("event").lower() if "event" in names else lit("click")
    columns = [
        col(ROW).cast(DataType.int64()),
        text("session_id").alias("session_id"),
        text("product_id").alias("product_id"),
        microseconds(col("timestamp")).alias("time"),
        event.alias("event"),
    ]
    if "user_id" in names:
        columns.append(text("user_id").alias("user_id"))
    label = text("label").lower() if "label" in names else lit("1")
    columns.append(label.is_in(["0", "0.0", "false"]).fill_null(False).alias("shown"))
    joined = events.select(*columns).join(known, on="product_id", how="left")

    def empty(name: str) -> daft.Expression:
        return col(name).is_null() | (col(name) == "")

    problem = (
        when(empty("session_id"), lit(1))
        .when(empty("product_id"), lit(2))
        .when(col("product").is_null(), lit(3))
        .when(col("time").is_null(), lit(4))
        .when((col("time") < _EARLIEST) | (col("time") > _LATEST), lit(5))
        .when(~(empty("event") | col("event").is_in(list(EVENTS))), lit(6))
        .otherwise(lit(0))
    )
    kept = [col(ROW), col("session_id"), col("product"), col("time")]
    if "user_id" in names:
        kept.append(when(~empty("user_id"), col("user_id")).alias("user_id"))
    jump = (col("event") == "jump").fill_null(False)
    shown = col("shown")
    return joined.select(*kept, jump.alias("jump"), shown, problem.cast(DataType.int8()).alias("problem"))


_TIDY = DataType.struct(
    {
        "products": DataType.list(DataType.int32()),
        "clicks": DataType.int32(),
        "started": DataType.int64(),
        "ended": DataType.int64(),
        "unsorted": DataType.bool(),
    }
)


@daft.func.batch(return_dtype=_TIDY)
def _tidy(products: daft.Series, times: daft.Series, rows: daft.Series) -> pa.Array:
    """Order each session by (time, row) and collapse runs of the same product; whole batches as arrays."""
    lists = [series.to_arrow() for series in (products, times, rows)]
    count = len(lists[0])
    offsets = np.asarray(lists[0].offsets).astype(np.int64)
    product, time, row = (np.asarray(values.flatten()) for values in lists)
    length = np.diff(offsets)
    session = np.repeat(np.arange(count), length)
    by_row = np.lexsort((row, session))
    same = session[1:] == session[:-1]
    late = np.zeros(len(session), bool)
    late[1:] = same & (time[by_row][1:] < time[by_row][:-1])
    order = np.lexsort((row, time, session))
    product, time = product[order], time[order]
    kept = np.ones(len(product), bool)
    kept[1:] = ~same | (product[1:] != product[:-1])
    bounds = np.concatenate([[0], np.cumsum(np.bincount(session[kept], minlength=count))])
    first = offsets[:-1] - offsets[0]
    return pa.StructArray.from_arrays(
        [
            pa.LargeListArray.from_arrays(pa.array(bounds), pa.array(product[kept].astype(np.int32))),
            pa.array(length.astype(np.int32)),
            pa.array(time[first]),
            pa.array(time[first + length - 1]),
            pa.array(np.bincount(session[late], minlength=count) > 0),
        ],
        names=["products", "clicks", "started", "ended", "unsorted"],
    )


def clean_sessions(events: daft.DataFrame) -> daft.DataFrame:
    """Group checked clicks into sessions, lazily: one row a session, clicks in order, runs collapsed.

    Columns in: `session_id`, `product`, `time`, the row number and optionally `user_id`. Columns out:
    `session_id`, `user_id` and `last_user` (first and last by name), `products`, `clicks` (before collapsing),
    `started`, `ended`, `unsorted`. No window function: sessions gather by a hash aggregation and one batch UDF
    orders them, so that a cluster runs the same plan.
    """
    columns = [col("product").list_agg(), col("time").list_agg(), col(ROW).list_agg()]
    users = "user_id" in events.column_names
    if users:
        columns += [col("user_id").min(), col("user_id").max().alias("last_user")]
    grouped = events.groupby("session_id").agg(*columns)
    tidy = grouped.with_column("tidy", _tidy(col("product"), col("time"), col(ROW)))
    fields = [col("tidy").get(name).alias(name) for name in ("products", "clicks", "started", "ended", "unsorted")]
    return tidy.select("session_id", *(["user_id", "last_user"] if users else []), *fields)


def _pairs(frame: daft.DataFrame) -> list[tuple[Any, ...]]:
    return list(zip(*frame.to_pydict().values(), strict=True))
