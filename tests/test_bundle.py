"""Bundles: published whole or not at all, verified, kept, rolled back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from trimodal import bundle as bundles
from trimodal.errors import BundleError


def writer(text):
    def write(folder):
        (folder / "sub").mkdir()
        (folder / "sub/data.txt").write_text(text)
        return {"note": text}

    return write


def test_publish_keeps_the_last_few_and_rolls_back(tmp_path):
    bundle = tmp_path / "b"
    for n in range(5):
        version = bundles.publish(bundle, writer(str(n)), keep=3)
        assert bundles.current(bundle) == version
    assert bundles.versions(bundle) == ["000003", "000004", "000005"]
    assert bundles.verify(bundles.current(bundle))["note"] == "4"
    assert bundles.rollback(bundle).name == "000004"
    assert (bundles.current(bundle) / "sub/data.txt").read_text() == "3"
    # A new version after a rollback is made from what was rolled back to: the bad one is out of the line.
    assert bundles.publish(bundle, writer("new")).name == "000006"
    assert bundles.rollback(bundle).name == "000004"
    assert bundles.rollback(bundle).name == "000003"
    with pytest.raises(BundleError, match="no version before 000003"):
        bundles.rollback(bundle)


def test_a_version_made_from_an_old_one_is_refused(tmp_path):
    bundle = tmp_path / "b"
    first = bundles.publish(bundle, writer("a"))
    bundles.publish(bundle, writer("b"), base=first.name)
    with pytest.raises(BundleError, match="has changed since it was loaded"):
        bundles.publish(bundle, writer("c"), base=first.name)
    assert bundles.verify(bundles.current(bundle))["note"] == "b"


def test_rollback_goes_past_damaged_versions_and_publish_goes_on(tmp_path):
    bundle = tmp_path / "b"
    for n in range(4):
        bundles.publish(bundle, writer(str(n)), keep=4)
    (bundle / "000003/sub/data.txt").write_text("damaged")
    assert bundles.rollback(bundle).name == "000002"
    (bundle / "000004/manifest.json").unlink()
    assert bundles.publish(bundle, writer("new"), keep=4).name == "000005"
    assert bundles.rollback(bundle).name == "000002"


def test_a_lost_parent_or_pointer_loses_no_good_version(tmp_path):
    bundle = tmp_path / "b"
    for n in range(4):
        bundles.publish(bundle, writer(str(n)), keep=4)
    (bundle / "000003/manifest.json").unlink()
    bundles.publish(bundle, writer("5"), keep=3)
    assert bundles.versions(bundle) == ["000002", "000004", "000005"]
    (bundle / "CURRENT").unlink()
    with pytest.raises(BundleError, match="rollback"):
        bundles.current(bundle)
    bundles.publish(bundle, writer("6"), keep=3)
    assert bundles.versions(bundle) == ["000004", "000005", "000006"]
    (bundle / "CURRENT").unlink()
    assert bundles.rollback(bundle).name == "000006"


def test_folders_named_like_numbers_are_not_versions(tmp_path):
    for year in ("2019", "2020", "201901"):
        (tmp_path / year).mkdir()
        (tmp_path / year / "a.jpg").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"):
        bundles.publish(tmp_path, writer("x"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2019", "201901", "2020"]


def test_a_failed_write_changes_nothing(tmp_path):
    bundle = tmp_path / "b"
    bundles.publish(bundle, writer("good"))

    def broken(folder):
        (folder / "half.txt").write_text("half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError):
        bundles.publish(bundle, broken)
    assert sorted(p.name for p in bundle.iterdir()) == [".lock", "000001", "CURRENT"]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest", "format"])
def test_damage_is_found(tmp_path, damage):
    bundle = tmp_path / "b"
    bundles.publish(bundle, writer("first"))
    version = bundles.publish(bundle, writer("second"))
    file = version / "sub/data.txt"
    if damage == "flip":
        file.write_text("secund")
    elif damage == "truncate":
        file.write_text("")
    elif damage == "delete":
        file.unlink()
    elif damage == "manifest":
        (version / "manifest.json").write_text("{")
    else:
        manifest = json.loads((version / "manifest.json").read_text())
        (version / "manifest.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(BundleError, match="fit it again" if damage == "format" else "trimodal rollback"):
        bundles.verify(bundles.current(bundle))
    assert bundles.rollback(bundle).name == "000001"


def test_what_is_not_a_bundle_is_left_alone(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/me.jpg").write_text("x")
    with pytest.raises(BundleError, match="is not a bundle"):
        bundles.publish(tmp_path / "photos", writer("x"))
    with pytest.raises(BundleError, match="make one with"):
        bundles.current(tmp_path / "photos")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/CURRENT").write_text("../photos")
    with pytest.raises(BundleError, match="is not there"):
        bundles.current(tmp_path / "b")


KILLED = """
import sys, time
from pathlib import Path
from trimodal import bundle

def write(folder):
    for n in range(1000):
        (folder / f"{n}.bin").write_bytes(bytes(20000))
        time.sleep(0.001)
    return {"note": "new"}

bundle.publish(Path(sys.argv[1]), write)
"""


def test_killed_while_writing_the_old_version_stays(tmp_path):
    bundle = tmp_path / "b"
    bundles.publish(bundle, writer("old"))
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(bundle)])
    deadline = time.monotonic() + 60
    while not list(bundle.glob(".draft-*/9*.bin")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert bundles.verify(bundles.current(bundle))["note"] == "old"
    assert list(bundle.glob(".draft-*"))
    bundles.publish(bundle, writer("next"))
    assert bundles.verify(bundles.current(bundle))["note"] == "next"
    assert not list(bundle.glob(".draft-*"))
