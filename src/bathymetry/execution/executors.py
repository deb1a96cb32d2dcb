"""Where jobs are done: in this process, in processes of this machine, or on Dask; the results are the same."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.showing import plural
from bathymetry.core.system import free_bytes, gigabytes
from bathymetry.execution import Progress
from bathymetry.execution.dask import Cluster
from bathymetry.execution.dask_connection import check_scheduler, host_and_port, imported
from bathymetry.execution.jobs import Receipt
from bathymetry.execution.local import LocalWorkers, in_process
from bathymetry.execution.schedule import Schedule
from bathymetry.store import chunks, storage
from bathymetry.store.chunks import checkpoint_path
from bathymetry.store.storage import Place, is_shared
from bathymetry.studies import Study
from bathymetry.sweeps.sweep import Sweep

KEYWORDS = ("workers", "max_memory", "scheduler", "local_cluster")
_MOST_WORKERS = 10_000
_STARTING = 5.0  # seconds of work below which starting processes costs more than they save
_MEMORY_SHARE = 0.8  # of what is free


@dataclass(frozen=True)
class Executor:
    """What was asked for, checked by `executor`."""

    workers: int
    max_memory: int  # bytes
    is_limited: bool  # by the user
    scheduler: str | None
    local_cluster: int | None

    def receipts(
        self, schedule: Schedule, studies: Sequence[Study], out: Place, progress: Progress
    ) -> Generator[Receipt]:
        """Do the jobs; yield a receipt as each ends."""
        if not schedule.left:
            return
        name = studies[0].name if len(studies) == 1 else f"{len(studies)} studies"
        done: set[str] = set()
        planned = sum(schedule.chunks.values())
        progress.begin(name, planned, schedule.total)
        try:
            with self._opened(schedule, studies, out, progress) as receipts:
                for receipt in receipts:
                    done |= {receipt.id} if receipt.status == "done" else set()
                    yield receipt
        except KeyboardInterrupt as stopped:
            first = {one: chunks.path_of_id(out, one.partition("+")[0]) for one in schedule.chunks}
            begun = any(storage.exists(checkpoint_path(one)) for one in first.values())
            if isinstance(out, Path):  # the last chunk may be stored and have no receipt
                done |= {job for job, path in first.items() if storage.exists(path)}
            count = sum(schedule.chunks.get(job, 0) for job in done)
            checkpoint = "; what was being trained continues from its checkpoint" if begun else ""
            of = f' of "{name}"' if len(studies) == 1 else ""
            stored = f"{count} of {planned} {plural('chunk', planned)}{of} are stored in {out}{checkpoint}"
            stopped.args = (f"{stored}. Run the same command to go on",)
            raise
        finally:
            progress.end()

    @contextmanager
    def _opened(
        self, schedule: Schedule, studies: Sequence[Study], out: Place, progress: Progress
    ) -> Iterator[Iterator[Receipt]]:
        """Open what does the jobs: processes only if there are several workers and enough to do."""
        devices = torch.cuda.device_count() if any(one.device == "cuda" for one in studies) else 0
        count = min(self.workers, devices or self.workers, schedule.left)
        if self.scheduler is not None or self.local_cluster is not None:
            with Cluster(out, self.scheduler, self.local_cluster, self.max_memory) as cluster:
                yield cluster.run(schedule, progress)
        elif count > 1 and schedule.total > _STARTING and all(map(_travels, studies)):
            with LocalWorkers(out, count, self.max_memory, devices) as pool:
                yield pool.run(schedule, progress)
        else:
            if self.workers > 1 and not all(map(_travels, studies)):
                progress.say("What a notebook or a script defines is trained in this process, without other workers.")
            known = {(one.location, one.model_dump_json()): one for one in studies}
            yield in_process(schedule, out, known, progress, self.max_memory if self.is_limited else None)


def executor(
    studies: Sequence[Study],
    out: Place,
    workers: int,
    max_memory: int | None,
    scheduler: str | None,
    local_cluster: int | None,
) -> Executor:
    """Refuse what can't be, or does not go together."""
    workers = check_options(out, workers, max_memory, scheduler, local_cluster)
    memory = _memory(max_memory)
    if scheduler is not None or local_cluster is not None:
        for one in studies:
            if not _travels(one):
                what = "put it into a file of its own, or name what is registered"
                raise InputError("study", one.name, f"no worker can read what a notebook or a script defines; {what}")
    if scheduler is not None:
        check_scheduler(scheduler)
    return Executor(workers, memory, max_memory is not None, scheduler, local_cluster)


def check_options(
    out: Place, workers: int, max_memory: int | None, scheduler: str | None, local_cluster: int | None
) -> int:
    """Refuse what can be refused without studies, data and scheduler; return the number of workers."""
    workers = whole_number("workers", workers, 1, _MOST_WORKERS)
    if local_cluster is not None:
        local_cluster = whole_number("local_cluster", local_cluster, 1, _MOST_WORKERS)
    if scheduler is not None:
        if local_cluster is not None:
            raise InputError("local_cluster", local_cluster, "expected local_cluster or scheduler, not both")
        if max_memory is not None:
            remedy = "workers of a cluster have limits of their own: dask worker --memory-limit"
            raise InputError("max_memory", gigabytes(max_memory), remedy)
    others = {"workers": workers if workers > 1 else None, "scheduler": scheduler, "local_cluster": local_cluster}
    field, value = next(((name, one) for name, one in others.items() if one is not None), ("", None))
    if field and not is_shared(out):
        remedy = "expected 1" if field == "workers" else "expected a folder or an address that they can"
        raise InputError(field, value, f"other processes can't reach {out}; {remedy}")
    if workers > 1 and (scheduler is not None or local_cluster is not None):
        remedy = "a cluster has workers of its own; expected workers or a cluster, not both"
        raise InputError("workers", workers, remedy)
    if scheduler is not None:
        imported("scheduler", scheduler)
        host_and_port(scheduler)
    elif local_cluster is not None:
        imported("local_cluster", local_cluster)
    return workers


def _travels(study: Study) -> bool:
    """Whether another process can find the study's class: one defined in a notebook or a main script it can't."""
    if isinstance(study, Sweep) and callable(study.specification.network.family):
        return False
    module = study.location.partition(":")[0]
    if study.location.endswith(".py"):
        return True
    with suppress(ImportError, ValueError):
        return module != "__main__" and find_spec(module) is not None
    return False


def _memory(max_memory: int | None) -> int:
    free = free_bytes()
    if max_memory is None:
        return int(_MEMORY_SHARE * free)
    whole_number("max_memory", max_memory, 1)
    if max_memory > free:
        raise InputError("max_memory", gigabytes(max_memory), f"expected at most what is free, {gigabytes(free)}")
    return max_memory
