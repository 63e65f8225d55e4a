"""Plain definitions of shaped lists, one product at a time, over a full ranking; for small data only."""

from __future__ import annotations

import math


def allowed(shaping, query, other, rows):
    """Whether the filters let `other` into the list of `query` (None: not in the catalogue); rows are records."""
    mine, its = {} if query is None else rows[query], rows[other]
    if shaping.categories is not None and its["category"] not in shaping.categories:
        return False
    if its["category"] in shaping.exclude_categories:
        return False
    if shaping.brands is not None and its["brand"] not in shaping.brands:
        return False
    if shaping.same_category and (its["category"] is None or its["category"] != mine["category"]):
        return False
    if shaping.exclude_own_group and its["group_id"] is not None and its["group_id"] == mine["group_id"]:
        return False
    for bounds, times in ((shaping.price, 1.0), (shaping.relative_price, mine.get("price"))):
        if bounds is None:
            continue
        if its["price"] is None or times is None:
            return False
        low, high = bounds
        if low is not None and its["price"] < low * times:
            return False
        if high is not None and its["price"] > high * times:
            return False
    return True


def greedy(ranked, distance, k, pair, *, group=None, per_group=None, per_duplicate=None, near=0.0, diversity=0.0):
    """Choose k of `ranked` products; `distance` to the query by product, `pair(i, j)` NaN where there is none."""

    def similarity(i, j):
        d = float(pair(i, j))
        return 0.0 if math.isnan(d) else 1.0 - d

    chosen = []
    while len(chosen) < k:
        best, score = None, -math.inf
        for i in ranked:
            if i in chosen:
                continue
            if per_group is not None and sum(group[j] == group[i] for j in chosen) >= per_group:
                continue
            if per_duplicate is not None and sum(pair(i, j) <= near for j in chosen) >= per_duplicate:
                continue
            worth = (1 - diversity) * (1 - float(distance[i]))
            if chosen:
                worth -= diversity * max(similarity(i, j) for j in chosen)
            if worth > score:
                best, score = i, worth
        if best is None:
            break
        chosen.append(best)
    return chosen
