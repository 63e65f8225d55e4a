"""What all commands share: progress on the terminal, option types, reading and printing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ParameterError, check_int
from ..progress import Advance

if TYPE_CHECKING:
    from ..embeddings import Embedding
    from ..encoders.run import EncodingRun
    from ..ids import ProductIds
    from ..recommender import Recommender
    from ..results import SimilarProducts

DataFolder = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder with products.* and, if there are any, clicks.*.")
]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, as `trimodal fit` writes it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
MinClicks = Annotated[int, typer.Option(help="Leave out sessions with fewer clicks.")]
MaxClicks = Annotated[int, typer.Option(help="Leave out sessions with more clicks.")]
MaxRejected = Annotated[float, typer.Option(help="Fail if more than this share of a file's rows is bad.")]
Encoding = Annotated[str, typer.Option(help="Encoding of CSV and JSON Lines files.")]
Store = Annotated[
    Path | None,
    typer.Option(
        help="Folder that keeps encoded titles and pictures.", show_default=".trimodal beside the products file"
    ),
]
Device = Annotated[str, typer.Option(help="Where models run: auto, cpu or cuda.")]
BatchSize = Annotated[int | None, typer.Option(help="Titles or pictures per batch.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
PrivateUrls = Annotated[bool, typer.Option("--allow-private-urls", help="Fetch pictures from private addresses too.")]
ClickOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Prod2Vec parameter, such as epochs=20. Repeatable.")
]
Vectors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=FILE",
        help="Ready-made vectors of a modality (Parquet: product_id, vector). Repeatable.",
    ),
]


@contextmanager
def terminal(title: str, total: int | None) -> Iterator[Advance]:
    """Draw progress on standard error: a bar on a terminal, a line every half minute elsewhere."""
    if total == 0:
        yield lambda steps=1: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(title, total=total)
            yield lambda steps=1: bar.advance(task, steps)
            if total is None:
                bar.update(task, total=1, completed=1)
        return
    done, started, said = 0, time.monotonic(), time.monotonic()

    def advance(steps: int = 1) -> None:
        nonlocal done, said
        done += steps
        if time.monotonic() - said > 30:
            said = time.monotonic()
            share = f"{done:,} of {total:,}" if total else f"{done:,}"
            say(f"{title}: {share} after {said - started:.0f} s")

    yield advance
    if time.monotonic() - started > 5:
        say(f"{title}: done after {time.monotonic() - started:.0f} s")


def say(text: str) -> None:
    """Tell the user something that is not data."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print data as JSON."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def json_ready(value: Any) -> Any:
    """The same with paths as text, throughout."""
    if isinstance(value, dict):
        return {key: json_ready(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, Path) else value


def store_of(products: Path, store: Path | None) -> Path:
    """The store to use for a products file or the folder that holds it."""
    return store or (products if products.is_dir() else products.parent) / ".trimodal"


def pairs(option: str, values: list[str] | None) -> dict[str, str]:
    """Turn repeated NAME=VALUE options into a dictionary."""
    result = {}
    for value in values or []:
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise ParameterError(f"{option} {value!r}, must be NAME=VALUE.")
        result[name] = rest
    return result


def number(option: str, text: str) -> float:
    """Turn text into a number, with the option's name in the error."""
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f"{option} {text!r}, must be a number.") from None


def click_parameters(values: list[str] | None) -> dict[str, Any]:
    """Turn --click-option NAME=VALUE options into Prod2Vec parameters."""
    return {name: _click_parameter(name, value) for name, value in pairs("--click-option", values).items()}


def _click_parameter(name: str, text: str) -> object:
    from ..encoders.click import Prod2VecSettings

    if isinstance(asdict(Prod2VecSettings()).get(name), bool):
        if text.lower() not in ("true", "false"):
            raise ParameterError(f"--click-option {name}={text}, must be true or false.")
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        return number(f"--click-option {name}=", text)


def whole_numbers(option: str, text: str, *, low: int) -> list[int]:
    """Turn comma-separated text into whole numbers >= `low`."""
    try:
        values = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ParameterError(f"{option} {text!r}, must be whole numbers such as 3,20,50.") from None
    if not values:
        raise ParameterError(f"{option} is empty, must be whole numbers such as 3,20,50.")
    for value in values:
        check_int(option, value, low=low)
    return values


def names(text: str | None) -> list[str] | None:
    """Split a comma-separated option."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def read_vectors(values: list[str] | None, ids: ProductIds) -> dict[str, Embedding]:
    """Read --vectors NAME=FILE options and say how many of the products each covers."""
    from ..embeddings import Embedding

    embeddings = {}
    for name, file in pairs("--vectors", values).items():
        embedding = Embedding.read(Path(file), name, ids)
        say(f"{name}: {len(embedding.vectors):,} of {len(ids):,} products have a vector in {file}")
        for reason, n in embedding.unused.items():
            say(f"  {n:,} not used: {reason}")
        embeddings[name] = embedding
    return embeddings


def report_runs(runs: dict[str, EncodingRun]) -> None:
    """Say what encoding did, and where the ledger of failures is."""
    for name, run in runs.items():
        say(f"{name}: {run.encoded:,} encoded, {run.reused:,} from the store, {len(run.failures):,} failed")
        for failure in run.failures[:3]:
            say(f"  {failure.product_id}: {failure.reason}")
        if len(run.failures) > 3 and run.ledger:
            say(f"  all of them: {run.ledger}")


def warn_of_gaps(recommender: Recommender) -> None:
    """Say where a modality, or a product, has nothing."""
    for name, e in recommender.embeddings_.items():
        if not len(e.vectors):
            least = f" (fewer than {e.provenance.settings['min_count']} clicks each)" if name == "click" else ""
            say(f"warning: no product has a vector in {name}{least}; the others decide alone")
    if recommender.infer_clicks and not recommender.embeddings_["click"].provenance.settings.get("inferred_from"):
        say("warning: no click vector was inferred: too few products have one of their own")
    lonely = recommender.without_modality()
    if lonely:
        first = ", ".join(lonely[:3])
        say(f"warning: {len(lonely):,} products have no vector, so they have no neighbours; the first: {first}")


def neighbor_table(recommender: Recommender, result: SimilarProducts, *, shaped: bool = False) -> str:
    """Neighbours with title, distance, and the share of each modality; `shaped` where filters may have left none."""
    titles = recommender.catalog_.frame["title"]

    def title(product_id: str, width: int) -> str:
        text = titles[int(recommender.catalog_.ids.positions([product_id])[0])] or "(no title)"
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= width else text[: width - 1] + "…"

    shown = list(recommender.fusion_.modalities_)
    heading = f"{'distance':>8}  {'title':<48}" + "".join(f"{name:>9}" for name in shown) + "  id"
    first = f"{result.product_id}  {title(result.product_id, 70)}" if result.product_id else "the query"
    lines = [first, heading]
    for n in result:
        shares = "".join(f"{'-':>9}" if n.state[name] == "missing" else f"{n.shares[name]:>9.3f}" for name in shown)
        lines.append(f"{n.distance:>8.4f}  {title(n.product_id, 48):<48}{shares}  {n.product_id}")
    if not result.neighbors:
        known = "nothing is known of it that is known of another product"
        lines.append(f"no neighbours: {f'no product passes the filters, or {known}' if shaped else known}")
    return "\n".join(lines)
