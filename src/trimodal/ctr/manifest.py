"""The manifest of prepared data: recipe, parameters, counts, rejected rows, hashes; made once, printed as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import CtrData, Events
from .source import VisitorEvents


def made(
    source: VisitorEvents,
    recipe: str,
    parameters: Mapping[str, Any],
    users: tuple[str, ...],
    history: NDArray[np.int32],
    starts: NDArray[np.int64],
    parts: Mapping[str, Events],
    *,
    monitor: str,
    counts: Mapping[str, Any],
) -> CtrData:
    """Put tables together, with the manifest that says how they came about.

    Parameters
    ----------
    monitor
        Metric that training watches on the validation part unless told otherwise.
    counts
        Counts of the recipe's own.
    """
    data = CtrData(
        source.items, users, source.category, source.categories,
        np.ascontiguousarray(history, np.int32), starts, parts, {},
    )  # fmt: skip
    seen = np.concatenate([part.seen for part in parts.values()])
    manifest = {
        "recipe": recipe,
        "parameters": dict(parameters),
        "monitor": monitor,
        "counts": {
            "users": len(users),
            "items": len(source.items),
            "items_with_events": len(np.unique(np.concatenate([history, *(part.item for part in parts.values())]))),
            "categories": len(source.categories),
            "events": {name: len(part) for name, part in parts.items()},
            "positives": {name: int(part.label.sum()) for name, part in parts.items()},
            "history": {"mean": round(float(seen.mean()), 4), "max": int(seen.max())},
            "records": source.records,
            "rejected": sum(n for (_, _, kept), n in source.rejections.counts.items() if not kept),
            **counts,
        },
        "rejections": [
            {"file": file, "reason": reason, "kept": kept, "rows": n}
            for (file, reason, kept), n in source.rejections.counts.most_common()
        ],
        "inputs": dict(source.inputs),
        "fingerprint": data.hash(),
    }
    return replace(data, manifest=manifest)


def described(manifest: Mapping[str, Any]) -> str:
    """A manifest as the table a person wants."""
    counts = manifest["counts"]
    given = ", ".join(f"{name} {value}" for name, value in manifest["parameters"].items() if value is not None)
    lines = [f"{manifest['recipe']} ({given})", ""]
    lines += [f"{name:<24}{counts[name]:>12,}" for name in ("users", "items", "categories")]
    lines.append(f"{'items with events':<24}{counts['items_with_events']:>12,}")
    lines += ["", f"{'part':<24}{'events':>12}{'positive':>12}"]
    for part, n in counts["events"].items():
        lines.append(f"{part:<24}{n:>12,}{counts['positives'][part] / n if n else 0:>12.1%}")
    history = "{mean:.1f} / {max:,}".format(**counts["history"])
    lines += ["", f"{'history, mean / max':<24}{history:>12}"]
    lines += [f"{name:<24}{counts[name]:>12,}" for name in ("samples", "reviews", "repeats") if name in counts]
    for name, n in counts["left_out"].items():
        lines.append(f"{'left out: ' + name.replace('_', ' '):<40}{n:>12,}")
    lines.append(f"{'rejected rows':<24}{counts['rejected']:>12,}")
    for kept in (False, True):
        found = [r for r in manifest["rejections"] if r["kept"] == kept]
        if kept and found:
            lines.append(f"{'values not used':<24}{sum(r['rows'] for r in found):>12,}")
        lines += [f"  {r['rows']:>8,}  {r['file']}: {r['reason']}" for r in found]
    lines += ["", f"monitor {manifest['monitor']}, fingerprint {manifest['fingerprint'][:16]}"]
    return "\n".join(lines)
