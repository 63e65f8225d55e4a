"""Find the files of a model: in a local directory, in the hub's cache, or on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from ..errors import EncoderError, MissingExtraError

HUB_TIMEOUT = 5.0  # seconds


def model_folder(name: str, patterns: Sequence[str], *, fallback: Sequence[str] = ()) -> tuple[Path, str | None]:
    """The local folder of a model's files, and its commit on the hub (None for a directory of the user's).

    A model that the hub's cache holds is taken from there without asking the network. Otherwise the hub is
    asked once, with a short timeout: the hub library alone would try for half a minute.

    Parameters
    ----------
    name
        A local directory, or a hub name (`owner/model`).
    patterns
        Files that are needed, as glob patterns; every one must match.
    fallback
        Patterns that may stand in for the last of `patterns`, where a model has no such file.

    Raises
    ------
    EncoderError
        No such directory or model, a file is missing, or the hub does not answer.
    """
    local = Path(name).expanduser()
    if local.is_dir():
        if lacking := _lacking(local, patterns, fallback):
            raise EncoderError(f"the directory {name!r} holds no file {lacking}.")
        return local, None
    if local.exists() or local.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise EncoderError(f"no such directory: {name!r}.")
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise MissingExtraError(f"the model {name!r}", "hub") from error
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=True))
        if not _lacking(folder, patterns, fallback):
            return folder, folder.name
    except Exception:  # not cached, or not a hub name: the hub below says which
        pass
    _ask_hub(name, hub.constants)
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=list(patterns)))
        if fallback and _lacking(folder, patterns, ()):
            folder = Path(hub.snapshot_download(name, allow_patterns=[*patterns, *fallback]))
    except Exception as error:
        raise EncoderError(_no_model(name, first_line(error))) from error
    if lacking := _lacking(folder, patterns, fallback):
        raise EncoderError(f"the model {name!r} holds no file {lacking}.")
    return folder, folder.name


def _lacking(folder: Path, patterns: Sequence[str], fallback: Sequence[str]) -> str | None:
    """The first needed pattern that matches no file."""
    for pattern in patterns:
        choices = (pattern, *fallback) if pattern == patterns[-1] else (pattern,)
        if not any(any(folder.glob(choice)) for choice in choices):
            return " or ".join(choices)
    return None


def _ask_hub(name: str, constants: Any) -> None:
    if constants.HF_HUB_OFFLINE:
        raise EncoderError(_no_model(name, "it is not in the hub's cache, and HF_HUB_OFFLINE is set"))
    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except httpx.HTTPError as error:
        raise EncoderError(_no_model(name, f"{constants.ENDPOINT} does not answer")) from error


def _no_model(name: str, reason: str) -> str:
    return (
        f"the model {name!r} cannot be loaded: {reason}. Give a local directory that holds it, "
        "or use an embedded encoder, whose weights arrive by pip."
    )


def first_line(error: Exception) -> str:
    """What an error says, short enough to stand in another message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
