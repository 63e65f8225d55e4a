"""Quality on four public sets, with the encoders that arrive by pip: one table, beside the marks of others.

    python benchmarks/quality.py --data FOLDER --out out/quality [--markdown docs/quality.md] [SET ...]

FOLDER holds the sets as their own READMEs describe them; none of them is part of this project. Settings of
learned rows are chosen on validation parts of the training sessions. Prints tables and
writes OUT/results.json; --markdown also writes the tables as the docs carry them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from quality_categories import flipkart, ikea
from quality_next import beauty, diginetica, diginetica_categories
from quality_rows import Row, markdown
from quality_scenes import scenes

SETS: dict[str, Callable[[Path, Path, int], list[Row]]] = {
    "flipkart_1050": flipkart,
    "diginetica_sessions": diginetica,
    "diginetica_categories": diginetica_categories,
    "ikea_rooms": ikea,
    "ikea_scenes": scenes,
    "amazon_beauty": beauty,
}
FOLDERS = {"diginetica_categories": "diginetica_sessions", "ikea_scenes": "ikea_rooms"}
"""Where a set's folder is not its name."""

HEAD = """# Quality on real data

`python benchmarks/quality.py --data FOLDER --markdown docs/quality.md`, {date}, {cpus} cores, Python {python}, {seeds}
seeds, encoders that arrive by pip. Settings of learned rows were chosen on validation parts of the training sessions.
Which test was looked at more than once, and which rows are the best of several, is said in
[measurements](measurements.md#the-four-sets). Rows without an interval are marks of others.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--markdown", type=Path, help="also write the tables of all results as a page of the docs")
    parser.add_argument("--again", action="store_true", help="run nothing: write the page from earlier results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.json"
    for name in [] if options.again else options.sets or SETS:
        start = time.perf_counter()
        rows = SETS[name](options.data / FOLDERS.get(name, name), options.out, options.seeds)
        print(markdown(rows), f"\n{name}: {time.perf_counter() - start:.0f} s\n", flush=True)
        before = json.loads(results.read_text())["rows"] if results.is_file() else []
        kept = [row for row in before if row["data"] != name] + [asdict(row) for row in rows]
        note = {
            "date": datetime.now(UTC).date().isoformat(), "python": platform.python_version(), "cpus": os.cpu_count(),
            "trimodal": version("trimodal"), "seeds": options.seeds,
        }  # fmt: skip
        results.write_text(json.dumps({**note, "rows": kept}, indent=1) + "\n")
    if options.markdown:
        found = json.loads(results.read_text())
        rows = [Row(**row) for name in SETS for row in found["rows"] if row["data"] == name]
        options.markdown.write_text(HEAD.format(**found) + markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
