"""The laws of the database, against a real PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
from chorale_mesh.postgres import EmbeddedPostgres
from chorale_runtime.database import Database, DatabaseUnavailable
from chorale_runtime.dependencies import StorageFull
from chorale_runtime.migrations import MigrationsInvalid
from chorale_runtime.refusals import RequestInvalid


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database under test, with no migrations of its own."""
    async with Database.open(database_url, schema="songs", wait_seconds=10) as opened:
        yield opened


def _migrations(directory: Path, *texts: str) -> Path:
    directory.mkdir(exist_ok=True)
    for number, text in enumerate(texts, start=1):
        (directory / f"{number:04d}_step.sql").write_text(text)
    return directory


async def _tables(database: Database) -> set[str]:
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s",
            (database.schema,),
        )
        return {row["table_name"] for row in await cursor.fetchall()}


async def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    """What the block wrote is committed at its end, and gone when it raises."""
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE song (name text)")

    async def fail_half_way() -> None:
        async with database.connection() as connection:
            await connection.execute("INSERT INTO song VALUES ('lost')")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_half_way()
    async with database.connection() as connection:
        await connection.execute("INSERT INTO song VALUES ('kept')")
    async with database.connection() as connection:
        rows = await (await connection.execute("SELECT * FROM song")).fetchall()
    assert rows == [{"name": "kept"}]


async def test_schemas_do_not_meet(database: Database, database_url: str) -> None:
    """Two services in one database have a table of the same name each."""
    async with Database.open(database_url, schema="beats") as other:
        for one in (database, other):
            async with one.connection() as connection:
                await connection.execute("CREATE TABLE song (name text)")
        assert await _tables(database) == await _tables(other) == {"song", "migrations"}


async def test_each_migration_runs_once(database: Database, tmp_path: Path) -> None:
    """Steps are applied in order, once, however many replicas start at once."""
    first = _migrations(
        tmp_path / "m",
        "CREATE TABLE a (n int); INSERT INTO a VALUES (1);",
        "ALTER TABLE a ADD m int",
    )
    applied = await asyncio.gather(*(database.migrate("songs", first) for _ in range(6)))
    assert sorted(map(len, applied)) == [0, 0, 0, 0, 0, 2]
    _migrations(
        first,
        "CREATE TABLE a (n int); INSERT INTO a VALUES (1);",
        "ALTER TABLE a ADD m int",
        "CREATE TABLE b (percent text DEFAULT '100 %')",
    )
    assert await database.migrate("songs", first) == ["step"]
    assert await _tables(database) == {"a", "b", "migrations"}


async def test_sources_share_a_schema(database: Database, tmp_path: Path) -> None:
    """The runtime's tables and the service's are numbered each for itself."""
    await database.migrate("songs", _migrations(tmp_path / "one", "CREATE TABLE a (n int)"))
    await database.migrate("other", _migrations(tmp_path / "two", "CREATE TABLE b (n int)"))
    assert await _tables(database) == {"a", "b", "migrations"}


async def test_a_changed_migration_is_refused(database: Database, tmp_path: Path) -> None:
    """A file that was applied may not change, and the message says which one did."""
    files = _migrations(tmp_path / "m", "CREATE TABLE a (n int)")
    await database.migrate("songs", files)
    _migrations(files, "CREATE TABLE a (n bigint)")
    with pytest.raises(MigrationsInvalid, match="0001_step was changed"):
        await database.migrate("songs", files)


async def test_a_failed_migration_leaves_no_trace(database: Database, tmp_path: Path) -> None:
    """A step that fails half-way is rolled back and can be mended and applied."""
    files = _migrations(tmp_path / "m", "CREATE TABLE a (n int); SELECT 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        await database.migrate("songs", files)
    assert await _tables(database) == {"migrations"}
    _migrations(files, "CREATE TABLE a (n int)")
    assert await database.migrate("songs", files) == ["step"]


@pytest.mark.parametrize("names", [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["one.sql"]])
async def test_misnumbered_migrations_are_refused(
    database: Database, tmp_path: Path, names: list[str]
) -> None:
    """Gaps and names without a number are refused before anything is applied."""
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationsInvalid, match=r"songs"):
        await database.migrate("songs", tmp_path)


async def test_no_call_waits_long_for_a_connection(database_url: str) -> None:
    """When every connection is taken, the next call fails within seconds."""
    async with Database.open(database_url, "songs", pool_max=1) as database:
        async with database.connection():
            started = time.perf_counter()
            with pytest.raises(DatabaseUnavailable):
                await database.probe()
            assert time.perf_counter() - started < 5
        await database.probe()


async def test_statements_that_fail_are_not_the_servers_fault(database: Database) -> None:
    """A mistake in a statement stays what it is; only the server's absence is unavailability."""
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with database.connection() as connection:
            await connection.execute("SELECT * FROM nothing")


async def test_a_full_disk_has_a_name(database: Database) -> None:
    """SQLSTATE 53100, raised by the server itself, is StorageFull."""
    with pytest.raises(StorageFull) as caught:
        async with database.connection() as connection:
            await connection.execute(
                "DO $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$"
            )
    assert caught.value.dependency == "database"


async def test_cut_connections_are_replaced_unnoticed(database: Database) -> None:
    """Connections that the server closed while idle cost the next caller nothing."""
    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(database.probe())
    async with database.dedicated() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    await asyncio.sleep(0.2)
    for _ in range(10):
        await database.probe()


async def test_a_cancellation_is_never_lost(database: Database) -> None:
    """A task that uses the database ends when it is cancelled, in whichever moment that comes."""

    async def forever() -> None:
        while True:
            try:
                await database.probe()
            except DatabaseUnavailable:
                continue

    for moment in range(60):
        tasks = [asyncio.create_task(forever()) for _ in range(10)]
        await asyncio.sleep(moment / 5000)
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=5)
        assert not left


async def test_nothing_there_is_said_and_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Opening against a dead address logs what is wrong and keeps trying."""
    with pytest.raises(TimeoutError):
        async with Database.open("postgresql://x@127.0.0.1:1/none", "songs", wait_seconds=1):
            pass
    assert "database_unavailable" in caplog.text
    assert "127.0.0.1" in caplog.text


@pytest.mark.slow
async def test_the_server_may_be_killed_and_started_again(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """kill -9 of PostgreSQL: calls fail within seconds, committed rows stay, then calls work."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("killed")) as server:
        async with Database.open(server.url, "songs") as database:
            async with database.connection() as connection:
                await connection.execute("CREATE TABLE song (n int); INSERT INTO song VALUES (7)")

            async def write_while_it_dies() -> None:
                async with database.connection() as connection:
                    server.kill()
                    await connection.execute("INSERT INTO song VALUES (8)")

            with pytest.raises(DatabaseUnavailable):
                await write_while_it_dies()
            started = time.perf_counter()
            with pytest.raises(DatabaseUnavailable):
                await database.probe()
            assert time.perf_counter() - started < 5
            server.start()
            async with database.connection() as connection:
                rows = await (await connection.execute("SELECT n FROM song")).fetchall()
            assert rows == [{"n": 7}]


async def test_text_that_postgresql_cannot_hold_is_the_caller_s_error(database: Database) -> None:
    """U+0000 may stand in a protobuf string: it is refused by name, not an unknown failure."""
    with pytest.raises(RequestInvalid, match="U\\+0000"):
        async with database.connection() as connection:
            await connection.execute("SELECT %s::text", ("a\0b",))
