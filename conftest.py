"""Fixtures for every test of the mesh: a real PostgreSQL and a real S3 server, fresh per use."""

import importlib.util
import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

# The processes of a parallel run share the cores: BLAS with threads in each waits on itself.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import chorale_runtime  # noqa: F401 - says how gRPC runs, before gRPC is imported
import psycopg
import pytest
from chorale_mesh.objects import EmbeddedObjects
from chorale_mesh.postgres import EmbeddedPostgres
from minio import Minio

# What pytest makes of its tests, and what the many processes they start are compiled to, is kept,
# whatever the environment says: making it anew takes half of the time that collecting takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).resolve().parent
SERVICES = {folder.name for folder in (ROOT / "services").iterdir() if folder.is_dir()}
ABSENT = {name for name in SERVICES if importlib.util.find_spec(f"chorale_{name}") is None}
SERVERS = {"postgres", "object_server"}  # a test that needs one of them is no unit test


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fuzz-count`: how many random requests each RPC gets; `--kill-stride`: see below."""
    parser.addoption("--fuzz-count", type=int, default=100)
    parser.addoption("--kill-stride", type=int, default=9)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the tests of services that are not set up; the summary tells of them."""
    if collection_path.is_dir():
        parts = collection_path.relative_to(ROOT).parts
        is_left_out = parts[:1] == ("services",) and bool(ABSENT.intersection(parts[1:2]))
    elif collection_path.suffix != ".py":
        return None
    else:
        imports = re.findall(r"^(?:from|import) chorale_(\w+)", collection_path.read_text(), re.M)
        is_left_out = bool(ABSENT.intersection(imports))
    return is_left_out or None


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in this hook too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process runs the tests of a service, or of audio: they share what they start."""
    for item in items:
        if isinstance(item, pytest.Function) and SERVERS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.served)
        parts = item.path.relative_to(ROOT).parts
        has_group = item.get_closest_marker("xdist_group") is not None
        if parts[0] in ("services", "audio") and not has_group:
            item.add_marker(pytest.mark.xdist_group("/".join(parts[:2])))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly which services' tests did not run."""
    if ABSENT:
        terminalreporter.section("NOT TESTED", sep="!", red=True)
        terminalreporter.line(
            f"{', '.join(sorted(ABSENT))}: not set up here, so nothing that needs them ran. "
            "`make setup` sets up everything."
        )


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL with pgvector for the whole session."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """Where that PostgreSQL answers."""
    return postgres.url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A fresh, empty database, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedObjects]:
    """One S3 server for the whole session."""
    with EmbeddedObjects(tmp_path_factory.mktemp("objects")) as server:
        yield server


@pytest.fixture
def bucket(object_server: EmbeddedObjects) -> str:
    """The name of a fresh, empty bucket."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    client = Minio(
        endpoint=object_server.endpoint,
        access_key=object_server.access_key,
        secret_key=object_server.secret_key,
        secure=False,
    )
    client.make_bucket(bucket_name=name)
    return name


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder with published truth; tests that need it are skipped, loudly, without it."""
    folder = ROOT.parent / "shared" / "testdata"
    if not folder.is_dir():
        pytest.skip(f"NOT MEASURED: the test material at {folder} is absent")
    return folder


@pytest.fixture(scope="session")
def fuzz_count(request: pytest.FixtureRequest) -> int:
    """How many random requests each RPC gets."""
    return int(request.config.getoption("--fuzz-count"))


@pytest.fixture(scope="session")
def kill_stride(request: pytest.FixtureRequest) -> int:
    """Of the steps at which a service is killed, each how many-th is tried; 1 is all."""
    return int(request.config.getoption("--kill-stride"))
