"""Sessions of the simulated market: visitors, robots and jumps, a block of sessions at a time, as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._market import Market
from ._model import MarketModel, generator

BLOCK = 16_384  # sessions drawn together; part of the model: another value gives another market
LONGEST = 184  # clicks of a human session
BOT_CLICKS = (300, 5_000)
FIRST_DAY = np.datetime64("2025-03-03T00:00:00", "ms")
_DAY = 86_400_000  # milliseconds
_STYLE, _CATEGORY, _DEPARTMENT, _COMPANION, _ANYWHERE = range(5)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clicks:
    """Rows of the click log in time order, as arrays of one length.

    Attributes
    ----------
    session, product, visitor
        Numbers of the session, of the product (its place in the catalogue), of the visitor.
    time
        Milliseconds since `FIRST_DAY`.
    jump
        Whether the row is a jump to the shop; else it is a click.
    """

    session: Ints
    product: Ints
    visitor: Ints
    time: Ints
    jump: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.session)

    def take(self, rows: Ints | NDArray[np.bool_] | slice) -> Clicks:
        """Return these rows."""
        return Clicks(self.session[rows], self.product[rows], self.visitor[rows], self.time[rows], self.jump[rows])

    def followed_by(self, other: Clicks) -> Clicks:
        """Return both, sorted by time (session and click decide ties)."""
        columns = ("session", "product", "visitor", "time", "jump")
        both = Clicks(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in columns))
        return both.take(np.lexsort((both.jump, both.session, both.time)))


class Walk:
    """Where the next click goes: draws by popularity from ranges of a catalogue sorted along its tree.

    Sorted by department, category and style, each of these is one range; a running sum of popularity turns
    a uniform number into a product of the range by one binary search. No pair of products is ever scored
    except the few candidates of a move.
    """

    def __init__(self, market: Market) -> None:
        self.model: MarketModel = market.model
        met = market.shelf // market.styles_of_a_category  # the category among which a product is met
        self.order = np.lexsort((market.shelf, met, market.tree.department[met]))
        self.popularity = market.popularity[self.order]
        self.running = np.concatenate([[0.0], np.cumsum(self.popularity)])
        self.last = int(np.flatnonzero(self.popularity)[-1])
        self.taste = market.taste[self.order]
        away = np.flatnonzero(market.shelf[self.order] != market.style[self.order])
        home, shelf = market.style[self.order[away]], market.shelf[self.order[away]]
        self.taste[away] += market.style_taste[shelf] - market.style_taste[home]  # as its visitors see it
        category, style = met[self.order].astype(np.int64), market.shelf[self.order]
        department = market.tree.department[category]
        leaves = len(market.tree.categories)
        self.companion = _companions(market.leaf_taste, market.tree.department, np.unique(category))
        # for style, category and department: where the range of each product's begins and ends
        span = [_ranges(style), _ranges(category), _ranges(department)]
        starts, ends = np.zeros(leaves, np.int64), np.zeros(leaves, np.int64)
        starts[category], ends[category] = span[_CATEGORY]
        self.category_range = (starts, ends)
        self.spans = span
        self.category = category

    def draw(self, low: Ints, high: Ints, uniform: Floats) -> Ints:
        """Return a place in each range low..high-1, by popularity; from everywhere if it is empty."""
        bottom, top = self.running[low], self.running[high]
        empty = top <= bottom
        bottom, top = np.where(empty, 0.0, bottom), np.where(empty, self.running[-1], top)
        places: Ints = np.searchsorted(self.running, bottom + uniform * (top - bottom), side="right") - 1
        limited: Ints = np.minimum(places, self.last)
        return limited

    def bounds(self, current: Ints, move: NDArray[np.intp]) -> tuple[Ints, Ints]:
        """Return the range that each move from `current` may go to."""
        low, high = np.zeros(len(current), np.int64), np.full(len(current), len(self.order), np.int64)
        for kind in (_STYLE, _CATEGORY, _DEPARTMENT):
            rows = move == kind
            low[rows], high[rows] = (edge[current[rows]] for edge in self.spans[kind])
        rows = move == _COMPANION
        goal = self.companion[self.category[current[rows]]]
        low[rows], high[rows] = (edge[goal] for edge in self.category_range)
        return low, high

    def start(self, rng: np.random.Generator, favourite: Ints) -> Ints:
        """Return where sessions start: anywhere by popularity, or in the favourite's category."""
        low, high = np.zeros(len(favourite), np.int64), np.full(len(favourite), len(self.order), np.int64)
        home = rng.random(len(favourite)) < self.model.return_share
        low[home], high[home] = (edge[favourite[home]] for edge in self.spans[_CATEGORY])
        return self.draw(low, high, rng.random(len(favourite)))

    def step(self, rng: np.random.Generator, current: Ints) -> Ints:
        """Return the next place of every walker: a kind of move, candidates by popularity, one by taste."""
        model, count = self.model, len(current)
        edges = np.cumsum([model.style_share, model.category_share, model.department_share, model.companion_share])
        move = np.searchsorted(edges, rng.random(count), side="right")
        low, high = self.bounds(current, move)
        draws = rng.random((model.candidates, count))
        places = np.stack([self.draw(low, high, row) for row in draws], axis=1)  # [count, candidates]
        apart = self.taste[places] - self.taste[current][:, None, :]
        score = -np.einsum("acd,acd->ac", apart, apart).astype(np.float64) / model.temperature
        score[move == _ANYWHERE] = 0.0
        score += rng.gumbel(size=score.shape)
        score[places == current[:, None]] = -np.inf
        chosen: Ints = places[np.arange(count), score.argmax(1)]
        return chosen


def _ranges(labels: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Return for each row of a sorted column where the run of its value begins and ends."""
    first = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
    lengths = np.diff(np.append(first, len(labels)))
    return np.repeat(first, lengths), np.repeat(first + lengths, lengths)


def _companions(centre: NDArray[np.float32], department: Ints, met: Ints) -> Ints:
    """Return for each category the nearest in taste of those `met` in another department (or itself)."""
    companion = np.arange(len(centre))
    for leaf in range(len(centre)):
        abroad = met[department[met] != department[leaf]]
        if len(abroad):
            apart = ((centre[abroad] - centre[leaf]) ** 2).sum(1)
            companion[leaf] = abroad[apart.argmin()]
    return companion


def _lengths(rng: np.random.Generator, count: int, model: MarketModel) -> Ints:
    """Return the number of different clicks of each human session: 1, or 2 + extra, at most 184."""
    extra = rng.geometric(1 / (1 + model.mean_extra), size=count) - 1
    spread = 0.8
    centre = np.log(max(model.mean_extra_long, 1e-9)) - spread**2 / 2
    tail = np.rint(rng.lognormal(centre, spread, count)).astype(np.int64)
    extra = np.where(rng.random(count) < model.long_share, tail, extra)
    return np.where(rng.random(count) < model.single_share, 1, np.minimum(2 + extra, LONGEST))


def _start_times(rng: np.random.Generator, low: float, high: float, count: int, days: int) -> Ints:
    """Return sorted start times between two quantiles of the log; evenings are busier than nights."""
    quantile = np.sort(low + (high - low) * rng.random(count)) * days
    grid = np.linspace(0.0, 1.0, 25)
    busy = 1.0 + 0.8 * np.sin(2 * np.pi * (grid[:-1] - 0.42))
    day = np.floor(quantile)
    hour = np.interp(quantile - day, np.concatenate([[0.0], np.cumsum(busy)]) / busy.sum(), grid)
    return ((day + hour) * _DAY).astype(np.int64)


def _paths(walk: Walk, rng: np.random.Generator, length: Ints, is_robot: NDArray[np.bool_], favourite: Ints) -> Ints:
    """Return the places that sessions visit, session after session: visitors by steps, robots in a row."""
    offset = np.concatenate([[0], np.cumsum(length)])
    place = np.empty(offset[-1], np.int64)
    current = walk.start(rng, favourite)
    place[offset[:-1]] = current
    walkers = np.flatnonzero(~is_robot)
    for step in range(1, LONGEST):
        walkers = walkers[length[walkers] > step]
        if not len(walkers):
            break
        current[walkers] = walk.step(rng, current[walkers])
        place[offset[walkers] + step] = current[walkers]
    clickable = np.flatnonzero(walk.popularity)
    for robot in np.flatnonzero(is_robot).tolist():  # crawls the lists from anywhere
        crawl = int(rng.integers(len(clickable))) + np.arange(length[robot])
        place[offset[robot] : offset[robot + 1]] = clickable[crawl % len(clickable)]
    return place


def _block(
    walk: Walk, rng: np.random.Generator, start: int, stop: int, total: int, bots: Ints, favourites: Ints
) -> Clicks:
    """Return all rows of sessions start..stop-1, in time order."""
    model, count = walk.model, stop - start
    begin = _start_times(rng, start / total, stop / total, count, model.days)
    visitor = np.floor(len(favourites) * rng.random(count) ** 1.3).astype(np.int64)
    length = _lengths(rng, count, model)
    robots = bots[(bots >= start) & (bots < stop)] - start
    length[robots] = np.clip(rng.lognormal(7.0, 0.6, len(robots)), *BOT_CLICKS).astype(np.int64)
    is_robot = np.zeros(count, np.bool_)
    is_robot[robots] = True
    place = _paths(walk, rng, length, is_robot, favourites[visitor])

    session = np.repeat(np.arange(count), length)
    times = 1 + (~is_robot[session] & (rng.random(len(session)) < model.repeat_share))
    session, place = np.repeat(session, times), np.repeat(place, times)
    by_robot = is_robot[session]
    seconds = rng.lognormal(np.where(by_robot, 0.0, 3.2), np.where(by_robot, 0.3, 0.9))
    gap = (np.clip(seconds, 0.2, 1_500.0) * 1000).astype(np.int64)
    since = np.cumsum(gap) - gap
    first = np.searchsorted(session, np.arange(count))
    time = begin[session] + since - since[first][session]

    jumps = np.flatnonzero(~by_robot & (rng.random(len(session)) < model.jump_share))
    rows = np.concatenate([np.arange(len(session)), jumps])
    is_jump = np.arange(len(rows)) >= len(session)
    when = time[rows] + np.where(is_jump, gap[rows] // 2, 0)  # while the page is open
    who = session[rows]
    clicks = Clicks(who + start, walk.order[place[rows]], visitor[who], when, is_jump)
    return clicks.take(np.lexsort((clicks.jump, clicks.session, clicks.time)))


def _start_times_edge(quantile: float, days: int) -> int:
    """Return the start time at this quantile of the log, in milliseconds."""
    return int(_start_times(np.random.default_rng(0), quantile, quantile, 1, days)[0])


def blocks(seed: int, market: Market, sessions: int) -> Iterator[tuple[Clicks, int]]:
    """Yield the click log in time order, and how many sessions each piece completes drawing.

    Sessions are numbered by their start. Each block's sessions start in its own slice of time, so a row
    before the next slice is final; the few later ones wait for the next block. Memory: one block and what
    waits.
    """
    model = market.model
    walk = Walk(market)
    known = generator(seed, "visitors")
    visitors = visitor_count(sessions, model)
    favourites = walk.draw(
        np.zeros(visitors, np.int64), np.full(visitors, len(market), np.int64), known.random(visitors)
    )
    crawlers = robots(sessions, model.bot_share)
    bots = np.sort(generator(seed, "bots").choice(sessions, size=crawlers, replace=False))
    waiting: Clicks | None = None
    for number, start in enumerate(range(0, sessions, BLOCK)):
        stop = min(start + BLOCK, sessions)
        rng = generator(seed, "sessions", number)
        rows = _block(walk, rng, start, stop, sessions, bots, favourites)
        if waiting is not None:
            rows = waiting.followed_by(rows)
        if stop == sessions:
            yield rows, stop - start
        else:
            cut = int(np.searchsorted(rows.time, _start_times_edge(stop / sessions, model.days)))
            waiting = rows.take(slice(cut, None))
            yield rows.take(slice(0, cut)), stop - start


def robots(sessions: int, share: float) -> int:
    """Return how many of the sessions are robots: at least one where there are any."""
    count = round(share * sessions)
    return max(1, count) if share > 0 and sessions >= 100 else count


def visitor_count(sessions: int, model: MarketModel) -> int:
    """Return how many visitors sessions are drawn from; a few of them may have none."""
    return max(1, round(sessions / model.sessions_per_visitor))
