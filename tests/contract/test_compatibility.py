"""Within v1 the contract only grows: `buf breaking` against the commit before finds nothing."""

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from contract_image import PROTOS, ROOT
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

LOUDNESS = "chorale/mastering/v1/loudness.proto"
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


def _changed(image: Path, to: Path, change: Callable[[DescriptorProto], None]) -> Path:
    """The image, with a change to mastering's message `Loudness`."""
    contract = FileDescriptorSet.FromString(image.read_bytes())
    (file,) = (each for each in contract.file if each.name == LOUDNESS)
    (message,) = (each for each in file.message_type if each.name == "Loudness")
    change(message)
    to.write_bytes(contract.SerializeToString())
    return to


def _integrated(message: DescriptorProto) -> FieldDescriptorProto:
    (field,) = (each for each in message.field if each.name == "integrated_lufs")
    return field


def _renumber(message: DescriptorProto) -> None:
    _integrated(message).number = 99


def _retype(message: DescriptorProto) -> None:
    _integrated(message).type = FieldDescriptorProto.TYPE_STRING


def _rename(message: DescriptorProto) -> None:
    _integrated(message).name = "integrated_loudness"


def _delete(message: DescriptorProto) -> None:
    message.field.remove(_integrated(message))


def _add(message: DescriptorProto) -> None:
    message.field.add(
        name="new",
        number=99,
        json_name="new",
        type=FieldDescriptorProto.TYPE_DOUBLE,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )


@pytest.mark.parametrize("change", [_renumber, _retype, _rename, _delete])
def test_the_gate_bites(
    change: Callable[[DescriptorProto], None], image: Path, tmp_path: Path
) -> None:
    """A field that is renumbered, retyped, renamed or deleted is found."""
    assert "integrated_lufs" in _breaks(_changed(image, tmp_path / "new.binpb", change), image)


def test_growing_is_allowed(image: Path, tmp_path: Path) -> None:
    """A new field breaks nothing."""
    assert _breaks(_changed(image, tmp_path / "new.binpb", _add), image) == ""
