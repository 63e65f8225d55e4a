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


def publish(
    bundle: Path,
    write: Callable[[Path], Mapping[str, Any]],
    *,
    keep: int = KEEP,
) -> Path:
    """Write a new version and make it the current one.

    Parameters
    ----------
    bundle
        The bundle's folder; made if it is not there.
    write
        Writes the version's files into an empty folder and returns what the manifest says of them.
    keep
        How many versions to keep, the new one counted; older ones are deleted.

    Returns
    -------
    Path
        The folder of the new version.

    Raises
    ------
    BundleError
        The folder holds something else, or what was written does not read back equal. The version that was
        current stays so.
    """
    check_int("keep", keep, low=1)
    if bundle.exists() and (not bundle.is_dir() or (_occupied(bundle) and not versions(bundle))):
        raise BundleError(f"{bundle} is there and is not a bundle; choose another place or empty it.")
    bundle.mkdir(parents=True, exist_ok=True)
    # The lock goes with its process, so a draft that is there while we hold it was left by one that was killed.
    with FileLock(bundle / ".lock"):
        for left in bundle.glob(".draft-*"):
            shutil.rmtree(left, ignore_errors=True)
        draft = bundle / f".draft-{uuid.uuid4().hex[:8]}"
        draft.mkdir()
        try:
            _write(draft, write)
            number = max((int(name) for name in versions(bundle)), default=0) + 1
            version = bundle / f"{number:06d}"
            os.rename(draft, version)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _point(bundle, version.name)
        for name in versions(bundle)[:-keep]:
            shutil.rmtree(bundle / name, ignore_errors=True)
    return version


def _write(draft: Path, write: Callable[[Path], Mapping[str, Any]]) -> None:
    manifest = {"format": FORMAT, **write(draft)}
    manifest["files"] = {
        str(path.relative_to(draft)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(draft.rglob("*"))
        if path.is_file()
    }
    for name in manifest["files"]:
        flush(draft / name)
    with atomic(draft / _MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    flush(draft)
    verify(draft)


def current(bundle: Path) -> Path:
    """The folder of the current version. Raises `BundleError` if this is not a bundle."""
    pointer = bundle / _CURRENT
    if not pointer.is_file():
        raise BundleError(f"{bundle} is not a bundle (it has no file {_CURRENT}); make one with `trimodal fit`.")
    version = bundle / pointer.read_text(encoding="utf-8").strip()
    if version.parent != bundle or not version.is_dir():
        raise BundleError(f"{bundle}: its current version {version.name!r} is not there; see `trimodal rollback`.")
    return version


def versions(bundle: Path) -> list[str]:
    """Names of the versions that are there, oldest first."""
    if not bundle.is_dir():
        return []
    return sorted(path.name for path in bundle.iterdir() if path.name.isdecimal() and path.is_dir())


def read_manifest(version: Path) -> dict[str, Any]:
    """The manifest of a version. Raises `BundleError` if it is missing, damaged or of another format."""
    try:
        manifest = json.loads((version / _MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{version}: the manifest is missing or damaged ({error}); see `trimodal rollback`."
        ) from error
    if found != FORMAT:
        raise BundleError(f"{version} is of bundle format {found}, this trimodal reads format {FORMAT}; fit it again.")
    return dict(manifest)


def verify(version: Path) -> dict[str, Any]:
    """Check every file of a version against the manifest and return the manifest. Raises `BundleError`."""
    manifest = read_manifest(version)
    for name, wanted in manifest["files"].items():
        path = version / name
        if not path.is_file():
            raise BundleError(f"{version} lacks {name}; see `trimodal rollback`.")
        if path.stat().st_size != wanted["bytes"] or sha256(path) != wanted["sha256"]:
            raise BundleError(f"{path} is damaged: its checksum is not the manifest's; see `trimodal rollback`.")
    return manifest


def rollback(bundle: Path) -> Path:
    """Make the version before the current one current; returns its folder. Raises `BundleError` if there is none."""
    there = versions(bundle)
    if not there:
        raise BundleError(f"{bundle} is not a bundle; make one with `trimodal fit`.")
    pointer = bundle / _CURRENT
    now = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else "999999"
    before = [name for name in there if name < now]
    if not before:
        raise BundleError(f"{bundle} holds no version before {now}.")
    verify(bundle / before[-1])
    _point(bundle, before[-1])
    return bundle / before[-1]


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file of an earlier version into a new one, without writing its bytes again where possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _occupied(folder: Path) -> bool:
    """Whether a folder holds anything but what a killed first `publish` leaves."""
    return any(path.name != ".lock" and not path.name.startswith(".draft-") for path in folder.iterdir())


def _point(bundle: Path, name: str) -> None:
    with atomic(bundle / _CURRENT) as temporary:
        temporary.write_text(name + "\n", encoding="utf-8")
    flush(bundle)
