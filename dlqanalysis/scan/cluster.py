"""Workers that judge parts of an archive: some on this machine, or the Dask cluster that DLQ_DASK names."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from dlqanalysis.errors import ConnectError, RunError
from dlqanalysis.profile import dask_address

_WIDE = 16  #: results that are put together at once
_MOST = 8  #: processes on this machine
_SETTINGS = {
    # else Dask would put failures on the disk when memory is short, pickled
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    # as Dask itself sees to for BLAS: a worker is one thread, else each would start as many as there are cores
    "distributed.nanny.pre-spawn-environ.POLARS_MAX_THREADS": 1,
}


def local(workers: int) -> Any:
    """A Dask cluster of so many processes on this machine, each of one thread."""
    import dask
    from distributed import LocalCluster

    with dask.config.set(_SETTINGS):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )


class Cluster:
    """A Dask cluster: functions go out to each part, answers come back put together."""

    def __init__(self, address: str | None = None) -> None:
        from distributed import Client

        address = address or dask_address()
        self.local: Any = None
        if address is None:
            self.local = local(min(os.cpu_count() or 1, _MOST))
        try:
            self.client = Client(self.local or address, set_as_default=False, timeout="5s")
        except (OSError, TimeoutError, ValueError) as error:
            raise ConnectError(
                f"No Dask scheduler answers at DLQ_DASK ({type(error).__name__}). Start one with"
                " `dask scheduler`, or unset DLQ_DASK to use this machine."
            ) from None

    def each(self, function: Callable[..., Any], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The answers for all parts, in their order. A part whose worker dies is done again by another."""
        return self._answers(self._sent(function, parts))

    def reduced(
        self,
        function: Callable[..., Any],
        parts: Sequence[tuple[Any, ...]],
        joined: Callable[[list[Any]], Any],
    ) -> Any:
        """The answers for all parts as one: `joined` puts some of them together, then those, until one is left."""
        futures = self._sent(function, parts)
        while len(futures) > 1:
            groups = [futures[at : at + _WIDE] for at in range(0, len(futures), _WIDE)]
            futures = [self.client.submit(joined, group, pure=False) for group in groups]
        return self._answers(futures)[0]

    def _sent(self, function: Callable[..., Any], parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [self.client.submit(function, *part, pure=False) for part in parts]

    def _answers(self, futures: list[Any]) -> list[Any]:
        from distributed import KilledWorker

        try:
            return list(self.client.gather(futures))
        except KilledWorker:
            raise RunError(
                "Workers died again and again on the same part of the archive, most likely for want of memory."
                " Give them more, or start fewer on each machine."
            ) from None

    def close(self) -> None:
        """Gives the cluster back; workers that were started for it end."""
        self.client.close()
        if self.local is not None:
            self.local.close()
