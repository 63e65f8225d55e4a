"""The artefact on disk: written beside, verified, published by one rename, kept, rolled back.

BUNDLE/
  CURRENT            name of the published version, replaced atomically
  000001/            a version, never changed once it is there
    manifest.json    format, checksums, provenance, counts
    ...              the files of a fitted recommender
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from .errors import BundleError, check_int
from .files import atomic, flush, sha256

FORMAT = 1
KEEP = 3
_CURRENT = "CURRENT"
_MANIFEST = "manifest.json"
_VERSION = re.compile(r"\d{6,}")


def publish(
    bundle: Path, write: Callable[[Path], Mapping[str, Any]], *, keep: int = KEEP, base: str | None = None
) -> Path:
    """Write a new version and make it the current one.

    Parameters
    ----------
    bundle
        The bundle's folder; made if it is not there.
    write
        Writes the version's files into an empty folder and returns what the manifest says of them.
    keep
        How many versions to keep: the new one, the one it replaces, and so on back.
    base
        The version that the new one was made from; refuse if another one has been published since.

    Returns
    -------
    Path
        The folder of the new version.

    Raises
    ------
    BundleError
        The folder holds something else, what was written does not read back equal, or `base` is not current
        any more. The version that was current stays so.
    """
    check_int("keep", keep, low=1)
    check_target(bundle)
    bundle.mkdir(parents=True, exist_ok=True)
    # The lock goes with its process, so a draft that is there while we hold it was left by one that was killed.
    with FileLock(bundle / ".lock"):
        parent = _pointed(bundle) or next(reversed(versions(bundle)), None)
        if base is not None and base != parent:
            raise BundleError(
                f"{bundle} has changed since it was loaded ({base} then, {parent} now); nothing was changed, "
                "run the command again."
            )
        for left in bundle.glob(".draft-*"):
            shutil.rmtree(left, ignore_errors=True)
        draft = bundle / f".draft-{uuid.uuid4().hex[:8]}"
        draft.mkdir()
        try:
            _write(draft, write, parent)
            taken = (int(path.name) for path in bundle.iterdir() if _VERSION.fullmatch(path.name))
            number = max(taken, default=0) + 1
            version = bundle / f"{number:06d}"
            os.rename(draft, version)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _point(bundle, version.name)
        kept = _line(bundle, version.name)[:keep]
        for name in versions(bundle):
            if name not in kept:
                shutil.rmtree(bundle / name, ignore_errors=True)
    return version


def check_target(bundle: Path) -> None:
    """Raise `BundleError` where something that is not a bundle stands in the place of one."""
    if bundle.exists() and (not bundle.is_dir() or (_occupied(bundle) and not versions(bundle))):
        raise BundleError(f"{bundle} is there and is not a bundle; choose another place or empty it.")


def _write(draft: Path, write: Callable[[Path], Mapping[str, Any]], parent: str | None) -> None:
    manifest = {"format": FORMAT, "parent": parent, **write(draft)}
    manifest["files"] = {
        str(path.relative_to(draft)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(draft.rglob("*"))
        if path.is_file()
    }
    for name in manifest["files"]:
        flush(draft / name)
    text = json.dumps(manifest, indent=2, default=_plain)
    with atomic(draft / _MANIFEST) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    flush(draft)
    verify(draft)


def current(bundle: Path) -> Path:
    """The folder of the current version. Raises `BundleError` if this is not a bundle."""
    name = _pointed(bundle)
    if name is None and versions(bundle):
        raise BundleError(f"{bundle} has lost its file {_CURRENT}; `trimodal rollback` takes the newest version.")
    if name is None:
        raise BundleError(f"{bundle} is not a bundle (it has no file {_CURRENT}); make one with `trimodal fit`.")
    if name not in versions(bundle):
        raise BundleError(f"{bundle}: its current version {name!r} is not there; see `trimodal rollback`.")
    return bundle / name


def versions(bundle: Path) -> list[str]:
    """Names of the versions that are there, oldest first."""
    if not bundle.is_dir():
        return []
    found = [path.name for path in bundle.iterdir() if _VERSION.fullmatch(path.name) and (path / _MANIFEST).is_file()]
    return sorted(found, key=int)


def read_manifest(version: Path) -> dict[str, Any]:
    """The manifest of a version. Raises `BundleError` if it is missing, damaged or of another format."""
    try:
        manifest = json.loads((version / _MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
        if found == FORMAT:
            for note in manifest["files"].values():
                if not (isinstance(note["bytes"], int) and isinstance(note["sha256"], str)):
                    raise ValueError("a file's entry is not as written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{version}: the manifest is missing or damaged ({error}); see `trimodal rollback`."
        ) from error
    if found != FORMAT:
        raise BundleError(f"{version} is of bundle format {found}, this trimodal reads format {FORMAT}; fit it again.")
    return dict(manifest)


def verify(version: Path, *, checksums: bool = True) -> dict[str, Any]:
    """Check every file of a version against the manifest and return the manifest.

    Sizes are always compared; `checksums` reads every byte. Raises `BundleError`.
    """
    manifest = read_manifest(version)
    for name, wanted in manifest["files"].items():
        path = version / name
        if not path.is_file():
            raise BundleError(f"{version} lacks {name}; see `trimodal rollback`.")
        if path.stat().st_size != wanted["bytes"] or (checksums and sha256(path) != wanted["sha256"]):
            raise BundleError(f"{path} is damaged: it is not what the manifest says; see `trimodal rollback`.")
    return manifest


def rollback(bundle: Path) -> Path:
    """Make the version that the current one was made from current again.

    Where the current one does not say which that is, the newest version before it is taken. Returns its folder.
    Raises `BundleError` if there is none.
    """
    if not versions(bundle):
        raise BundleError(f"{bundle} is not a bundle; make one with `trimodal fit`.")
    with FileLock(bundle / ".lock"):
        there = versions(bundle)
        now = _pointed(bundle)
        before = _line(bundle, now)[1:] if now in there else there[::-1]
        for name in before:
            try:
                verify(bundle / name)
            except BundleError:
                continue  # damaged as well: go on back
            _point(bundle, name)
            return bundle / name
    raise BundleError(f"{bundle} holds no {'undamaged ' if before else ''}version before {now}.")


def _line(bundle: Path, name: str | None) -> list[str]:
    """A version, the one that it was made from, and so on back; where that is gone, the newest older one."""
    there = versions(bundle)
    line: list[str] = []
    while name is not None:
        if name in there:
            line.append(name)
            try:
                parent = read_manifest(bundle / name).get("parent")
            except BundleError:
                parent = name  # it does not say: the newest older one is the best guess
            if parent is None:
                break
            name = parent
        if name not in there or name in line:
            older = [other for other in there if int(other) < int(line[-1] if line else name)]
            name = older[-1] if older else None
    return line


def _pointed(bundle: Path) -> str | None:
    pointer = bundle / _CURRENT
    return pointer.read_text(encoding="utf-8", errors="replace").strip() if pointer.is_file() else None


def reuse(version: Path, name: str, target: Path) -> bool:
    """Put a file of an earlier version into a new one without writing it again; False if it is not what it was."""
    source = version / name
    try:
        if sha256(source) != read_manifest(version)["files"][name]["sha256"]:
            return False
        os.link(source, target)
    except (OSError, KeyError, BundleError):
        return False
    return True


def _plain(value: Any) -> Any:
    """A NumPy number as one of Python's."""
    return value.item()


def _occupied(folder: Path) -> bool:
    """Whether a folder holds anything but what a killed first `publish` leaves."""
    return any(path.name != ".lock" and not path.name.startswith(".draft-") for path in folder.iterdir())


def _point(bundle: Path, name: str) -> None:
    with atomic(bundle / _CURRENT) as temporary:
        temporary.write_text(name + "\n", encoding="utf-8")
    flush(bundle)
