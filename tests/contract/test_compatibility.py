"""Within v1 the contract only grows: `buf breaking` against the commit before finds nothing."""

import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from contract_image import PROTOS, ROOT

BUF = Path(sys.executable).parent / "buf"

pytestmark = pytest.mark.skipif(
    not BUF.exists(), reason=f"{BUF} is not there; `make setup` brings it"
)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=False)


def _compile(root: Path) -> Path:
    """Compiles the protos under `root` by the script that lies with them; returns the image."""
    done = subprocess.run(
        [sys.executable, root / "compile_protos.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "gen" / "chorale.binpb"


def _copy(to: Path) -> Path:
    """The working tree's protos, without what was built of them."""
    shutil.copytree(PROTOS, to, ignore=shutil.ignore_patterns("gen", "__pycache__"))
    return to


def _breaks(new: Path, old: Path) -> str:
    """What `buf breaking` has to say; empty when nothing."""
    config = str(PROTOS / "buf.yaml")
    done = subprocess.run(
        [BUF, "breaking", str(new), "--against", str(old), "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode in {0, 100}, said
    return said.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of the working tree, compiled anew."""
    return _compile(_copy(tmp_path_factory.mktemp("now") / "protos"))


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """The protos of the last commit that differs from the working tree."""
    changed = _git("status", "--porcelain", "--", "protos/chorale")
    if changed.returncode != 0:
        pytest.skip("this is no git repository, so there is no earlier contract to compare with")
    commit = "HEAD" if changed.stdout else "HEAD~1"
    archive = _git("archive", commit, "protos")
    if archive.returncode != 0:
        pytest.skip(f"{commit} has no protos: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as tar:
        tar.extractall(tmp_path / "committed", filter="data")
    return tmp_path / "committed" / "protos"


def test_nothing_that_was_promised_is_broken(committed: Path, image: Path) -> None:
    """Clients built from the commit before still understand this one, on the wire and in JSON."""
    assert _breaks(image, _compile(committed)) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("double integrated_lufs = 1;", "double integrated_lufs = 99;"),
        ("double integrated_lufs = 1;", "string integrated_lufs = 1;"),
        ("double integrated_lufs = 1;", "double integrated_loudness = 1;"),
        ("double integrated_lufs = 1;", ""),
    ],
    ids=["renumbered", "retyped", "renamed", "deleted"],
)
def test_the_gate_bites(before: str, after: str, image: Path, tmp_path: Path) -> None:
    """A field that is renumbered, retyped, renamed or deleted is found."""
    new = _copy(tmp_path / "new")
    path = new / "chorale/mastering/v1/loudness.proto"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    assert "integrated_lufs" in _breaks(_compile(new), image)


def test_growing_is_allowed(image: Path, tmp_path: Path) -> None:
    """A new field breaks nothing."""
    new = _copy(tmp_path / "new")
    path = new / "chorale/mastering/v1/loudness.proto"
    anchor = "double integrated_lufs = 1;"
    path.write_text(path.read_text().replace(anchor, f"{anchor}\n\n  // New.\n  double new = 99;"))
    assert _breaks(_compile(new), image) == ""
