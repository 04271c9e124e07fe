"""PostgreSQL for one service: a pool, a schema of its own, and errors that say what to do."""

import asyncio
import logging
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.resources.abc import Traversable
from typing import Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from chorale_runtime import migrations
from chorale_runtime.dependencies import DependencyUnavailable, StorageFull
from chorale_runtime.refusals import FieldViolation, RequestInvalid

logger = logging.getLogger(__name__)

DEPENDENCY = "database"
CONNECT_TIMEOUT_SECONDS = 2
POOL_TIMEOUT_SECONDS = 3.0  # how long a call waits for a free connection
WAITING_MAX = 500  # calls that may wait at once: more would only time out together
STATEMENT_TIMEOUT_SECONDS = 30
START_RETRY_SECONDS = 5.0

# SQLSTATE classes (and codes) that speak of the server and not of the statement.
UNAVAILABLE_STATES = (
    "08",  # connection exception
    "53",  # insufficient resources: too many connections, out of memory
    "57P",  # admin shutdown, crash shutdown, cannot connect now
    "57014",  # our own statement_timeout: it does not answer in time
    "58",  # system error
    "25006",  # read only: a primary that was demoted a moment ago
    "28",  # refuses our password: until it is mended, as good as away
    "3D000",  # the database does not exist (yet)
)

Connection: TypeAlias = AsyncConnection[DictRow]
T = TypeVar("T")


class DatabaseUnavailable(DependencyUnavailable):
    """PostgreSQL refused, broke or did not answer in time."""

    def __init__(self, detail: str) -> None:
        super().__init__(DEPENDENCY, detail)


class _Pool(AsyncConnectionPool[Connection]):
    """A pool that never lends a connection which the server has closed.

    An idle connection that was closed is readable (end of file), and looking costs
    no round trip. The pool's own `check` would cost one per loan, and waits a
    second after each dead connection; a restart leaves as many as there are.
    """

    async def getconn(self, timeout: float | None = None) -> Connection:
        """Lend a live connection within `timeout` seconds, or raise `PoolTimeout`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await super().getconn(deadline - loop.time())
            if not _has_word(connection):
                return connection
            try:
                await self.check_connection(connection)
            except BaseException as error:
                await connection.close()
                await self.putconn(connection)
                if not isinstance(error, psycopg.Error):
                    raise
            else:
                return connection


class Database:
    """One service's part of a PostgreSQL: its connections and its schema.

    Survives the server: while it is away every call raises `DatabaseUnavailable`
    within seconds, and the first call after it is back works.
    """

    def __init__(self, url: str, schema: str, pool_max: int) -> None:
        self.schema = schema
        self._conninfo = _conninfo(url, schema)
        self._pool = _Pool(
            self._conninfo,
            kwargs={"row_factory": dict_row},
            min_size=1,
            max_size=pool_max,
            max_waiting=WAITING_MAX,
            timeout=POOL_TIMEOUT_SECONDS,
            # Attempts soon end, because the next call starts a fresh one at once. With the
            # default the pool's back-off would keep a server that is back out for half a minute.
            reconnect_timeout=1.0,
            name=f"database.{schema}",
            open=False,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        schema: str,
        migrations: Traversable | None = None,
        pool_max: int = 8,
        wait_seconds: float | None = None,
    ) -> AsyncIterator[Self]:
        """Connect, bring the schema up to date and yield the database.

        Waits for a server that is not there yet, saying so in the log, for at
        most `wait_seconds` (None: as long as it takes).
        """
        database = cls(url, schema, pool_max)
        async with asyncio.timeout(wait_seconds):
            await database.migrate(schema, migrations)
        await database._pool.open()
        try:
            yield database
        finally:
            await database._pool.close(timeout=1.0)

    async def migrate(
        self, source: str, files: Traversable | Sequence[migrations.Migration] | None
    ) -> list[str]:
        """Apply what `source` adds to the schema; several sources may share one schema."""
        history = files if isinstance(files, Sequence) else ()
        if isinstance(files, Traversable):
            history = await asyncio.to_thread(migrations.read, source, files)

        async def apply() -> list[str]:
            async with self.dedicated() as connection:
                return await migrations.apply(connection, self.schema, source, history)

        return await _until_available(apply)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in a transaction: committed at the end, rolled back on exceptions."""
        with _cancellable(), _typed_errors():
            async with self._pool.connection() as connection:
                yield connection

    @asynccontextmanager
    async def dedicated(self) -> AsyncIterator[Connection]:
        """Open a connection outside the pool, in autocommit: to listen, or to hold a lock."""
        with _cancellable(), _typed_errors():
            connection = await AsyncConnection.connect(
                self._conninfo, autocommit=True, row_factory=dict_row
            )
            async with connection:
                yield connection

    @asynccontextmanager
    async def typed_errors(self) -> AsyncIterator[None]:
        """Say what the driver raises in the block in our words: for who uses the pool itself."""
        with _cancellable(), _typed_errors():
            yield

    async def probe(self) -> None:
        """Raise `DatabaseUnavailable` unless the server answers a query."""
        async with self.connection() as connection:
            await connection.execute("SELECT 1")

    @property
    def pool(self) -> AsyncConnectionPool[Connection]:
        """The pool itself, for libraries that bring their own queries."""
        return self._pool


def _conninfo(url: str, schema: str) -> str:
    """Add what makes a dead or silent server an error in seconds instead of a hang."""
    given = conninfo_to_dict(url)
    options = (
        f"{given.get('options') or ''} -c search_path={schema},public"
        f" -c statement_timeout={STATEMENT_TIMEOUT_SECONDS * 1000}"
        " -c idle_in_transaction_session_timeout=60000"
    )
    settings: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 8000,
        "application_name": f"chorale-{schema}",
        **given,
        "options": options.strip(),
    }
    return make_conninfo(**settings)


def _has_word(connection: Connection) -> bool:
    """Whether the server has sent something, or hung up, while the connection was idle."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _cancellable() -> Iterator[None]:
    """Raise at the end of the block a cancellation that the block lost.

    The driver waits with `asyncio.wait_for`, which in Python 3.11 forgets a cancellation
    that comes in the same moment as what it waits for. A task that nobody can end is
    worse than one that ends a statement late.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StorageFull(DEPENDENCY) from error
    except (PoolTimeout, PoolClosed, TooManyRequests) as error:
        raise DatabaseUnavailable(str(error)) from error
    except psycopg.Error as error:
        if _is_unavailable(error):
            raise DatabaseUnavailable(str(error).strip()) from error
        if isinstance(error, psycopg.DataError) and "NUL" in str(error):
            # Valid in a protobuf string and in no PostgreSQL text; found by the driver itself.
            violation = FieldViolation("", "string.nul", "a text must not hold U+0000.")
            raise RequestInvalid((violation,)) from error
        raise


def _is_unavailable(error: psycopg.Error) -> bool:
    if error.sqlstate is not None:
        return error.sqlstate.startswith(UNAVAILABLE_STATES)
    # Without a state the server never answered: the connection was refused, cut or closed.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


async def _until_available(attempt: Callable[[], Awaitable[T]]) -> T:
    delay_seconds = 0.2
    while True:
        try:
            return await attempt()
        except DatabaseUnavailable as error:
            logger.warning(
                "database_unavailable: retrying in %.1f s: %s", delay_seconds, error.detail
            )
        await asyncio.sleep(delay_seconds)
        delay_seconds = min(delay_seconds * 2, START_RETRY_SECONDS)
