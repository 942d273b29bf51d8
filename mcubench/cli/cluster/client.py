"""Fits on the workers of a Dask cluster: one of this machine's that is made for them, or one that there is."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import re
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mcubench.cli.cluster.forks import GRACE
from mcubench.cli.cluster.orders import Order
from mcubench.cli.cluster.worker import fit_order, is_at_work
from mcubench.cli.fitting.one_fit import Outcome
from mcubench.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Workers", "outcomes"]

K = TypeVar("K")

# A terminal sends Ctrl-C to all its processes, and it is the command that stops what workers do.
_NO_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"

_ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?[^\s/:]+:[1-9]\d{0,4}", re.ASCII)
_CONNECTING = 10.0  # seconds
_SUCH = "as in tcp://host:8786"
_MOST = 1_000  # processes on one machine


@dataclass(frozen=True)
class Workers:
    """Where fits are to run.

    Args:
        number: Of processes on this machine; else there is a scheduler.
        scheduler: The address of a Dask scheduler, as in ``tcp://host:8786``.

    Raises:
        UserError: If Dask is not installed, or there can be no such number or address.
    """

    number: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        option = "--scheduler" if self.number is None else "--workers"
        if importlib.util.find_spec("distributed") is None:
            raise UserError(f"{option} needs Dask, which is not installed: pip install 'mcubench[cluster]'")
        if self.number is not None and not 1 <= self.number <= _MOST:
            raise UserError(f"--workers must be a number of processes, 1 to {_MOST:,}; got {self.number}")
        if self.scheduler is not None and not _ADDRESS.fullmatch(self.scheduler):  # before Dask, which waits for long
            raise UserError(
                f"--scheduler must be an address as `dask scheduler` prints it, {_SUCH}; got {self.scheduler}"
            )

    @contextlib.contextmanager
    def connected(self) -> Iterator[Client]:
        """A connection to the scheduler; what is made for it ends with it.

        Raises:
            UserError: If no scheduler answers.
        """
        with self._of_this_machine() if self.scheduler is None else _at(self.scheduler) as client:
            yield client

    @contextlib.contextmanager
    def _of_this_machine(self) -> Iterator[Client]:
        import dask
        from distributed import Client, LocalCluster

        with (
            tempfile.TemporaryDirectory(prefix="mcubench-") as folder,
            # Nobody looks at what Dask samples of its threads, ten times a millisecond's work each second.
            dask.config.set({"distributed.worker.profile.enabled": False}),
            LocalCluster(
                n_workers=self.number,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",  # nobody else's: who reaches a scheduler has code run
                dashboard_address="127.0.0.1:0",
                memory_limit=0,  # fits are no part of what Dask measures; the system ends what is too large
                local_directory=folder,
                preload=_NO_CTRL_C,
                silence_logs=logging.CRITICAL,  # that workers die is told by how their fits end
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client


@contextlib.contextmanager
def _at(address: str) -> Iterator[Client]:
    from distributed import Client

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what is wrong is said in a line of ours
    try:
        client = Client(address, timeout=_CONNECTING, set_as_default=False)
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(
            f"--scheduler {address}: no scheduler of Dask's answers there ({_first_line(error)}); give the address "
            f"that `dask scheduler` prints, {_SUCH}"
        ) from None
    with client:
        yield client


def outcomes(client: Client, orders: Mapping[K, Order]) -> Generator[tuple[K, Outcome]]:
    """Has all orders run, and gives how they went, the first that ends first; those that are left are stopped.

    Args:
        client: A connection, as `Workers.connected` has it.
        orders: By anything that tells them apart.

    Raises:
        UserError: If the scheduler is lost.
    """
    from distributed import as_completed

    run = f"fit-{uuid.uuid4().hex[:8]}-"  # an order that is given again must not be taken for the one before
    futures: dict[Future[Outcome], K] = {
        client.submit(fit_order, order, key=f"{run}{place}", pure=False): key
        for place, (key, order) in enumerate(orders.items())
    }
    waiting = set(futures)
    try:
        for future in as_completed(futures, loop=client.loop):
            if future.cancelled():
                raise UserError(
                    "the scheduler does not answer any more: see what has become of it; the same command goes on"
                )
            waiting.discard(future)
            yield futures[future], _outcome_of(future)
    finally:
        if waiting:
            _stop(client, list(waiting), run)


def _outcome_of(future: Future[Outcome]) -> Outcome:
    """What a task has returned, or what Dask or a worker has against it."""
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    if isinstance(error, KilledWorker):
        times = error.allowed_failures + 1
        return Outcome(f"failed: {times} workers have died with it, the last was {error.last_worker.address}")
    if isinstance(error, ImportError):
        why = f"a worker can't import mcubench ({_first_line(error)}): install the same there as here"
        return Outcome(why, ends_all=True)
    return Outcome(f"failed on its worker: {type(error).__name__}: {_first_line(error)}")


def _stop(client: Client, futures: list[Future[Outcome]], run: str) -> None:
    """Cancels what waits and what runs, and waits until the latter has saved."""
    if client.status != "running":  # its scheduler is lost
        return
    client.cancel(futures)
    deadline = time.monotonic() + GRACE + 5
    while time.monotonic() < deadline:
        at_work = client.run(is_at_work, run, on_error="ignore")
        if not any(at_work.values()):
            break
        time.sleep(0.1)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
