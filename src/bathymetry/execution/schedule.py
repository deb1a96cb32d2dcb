"""Which jobs are left, in which order they are done, and what happens to one that fails."""

from collections.abc import Iterable
from dataclasses import replace

from bathymetry.core.errors import InputError
from bathymetry.core.showing import plural
from bathymetry.core.system import gigabytes
from bathymetry.execution.jobs import Job, Receipt

TRIES = 3  # of a job that fails, before it is marked


class Schedule:
    """The jobs of a run: the longest that is ready comes first, so that no process idles at the end."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        once = {job.id: job for job in jobs}.values()  # studies may share chunks
        self._waiting = sorted(once, key=lambda job: -job.seconds)
        self.chunks = {job.id: len(job.parts) for job in self._waiting if job.kind == "train"}
        self.planned = len(once)
        self._halves: dict[str, tuple[str, ...]] = {}
        self._tries: dict[str, int] = {}
        self._left = {job.id for job in self._waiting}  # neither done nor given up
        self.total = sum(job.seconds for job in self._waiting)  # seconds, about, with one thread
        self.seconds_done = 0.0

    @property
    def left(self) -> int:
        """How many jobs are neither done nor given up."""
        return len(self._left)

    def unfinished(self, ids: Iterable[str]) -> bool:
        """Whether any of these jobs is neither done nor given up."""
        return any(one in self._left or self.unfinished(self._halves.get(one, ())) for one in ids)

    @property
    def so_far(self) -> str:
        """How many chunks have ended, or measurements once all chunks have."""
        ended = sum(count for one, count in self.chunks.items() if not self.unfinished([one]))
        total, measurements = sum(self.chunks.values()), self.planned - len(self.chunks)
        if ended < total or not measurements:
            return f"{ended} of {total} {plural('chunk', total)}"
        return f"{measurements - self.left} of {measurements} {plural('measurement', measurements)}"

    @property
    def pending(self) -> bool:
        """Whether jobs wait, ready or not."""
        return bool(self._waiting)

    def next(self, room: float = float("inf")) -> Job | None:
        """Take the longest job that is ready and needs no more memory than there is room."""
        for job in self._waiting:
            if job.bytes <= room and not any(one in self._left for one in job.after):
                self._waiting.remove(job)
                return job
        return None

    def shrink(self, room: int) -> None:
        """Cut a job that no process has room for into halves; refuse one of a single member."""
        job = next(job for job in self._waiting if not any(one in self._left for one in job.after))
        self._waiting.remove(job)
        self.cut(job, "max_memory", room)

    def cut(self, job: Job, field: str, room: int) -> None:
        """Cut a job, which was taken, into halves for want of memory; refuse one of a single member."""
        if not self.split(job):
            remedy = f"expected at least {gigabytes(job.bytes)}, which {job.label} needs"
            raise InputError(field, gigabytes(room), remedy)

    def done(self, job: Job) -> None:
        """Note that a job is done."""
        self._left.discard(job.id)
        self.seconds_done += job.seconds

    def failed(self, job: Job, error: str, traceback: str = "", *, memory: bool = False) -> list[Receipt]:
        """Try a job again, in halves if memory may be the cause; after three tries give it up and all that need it."""
        tries = self._tries[job.id] = self._tries.get(job.id, 0) + 1
        if (memory or job.stack) and tries > 1 and self.split(job):
            self._tries.pop(job.id)
            return []
        if tries < TRIES:
            self.again(job)
            return []
        return self.give_up(job, error, traceback)

    def again(self, job: Job) -> None:
        """Have a job, which was taken, done before all others."""
        self._waiting.insert(0, job)

    def give_up(self, job: Job, error: str, traceback: str = "") -> list[Receipt]:
        """Mark a job, which was taken, as failed, and all that need it."""
        self._left.discard(job.id)
        receipts = [Receipt(job.id, "failed", 0.0, job.label, error, traceback)]
        for other in [one for one in self._waiting if job.id in one.after]:
            if other in self._waiting:
                self._waiting.remove(other)
                receipts += self.give_up(other, f"it needs {job.label}, which failed ({error})")
        return receipts

    def split(self, job: Job) -> bool:
        """Put the halves of a job, which was taken, in its place; return whether it has any."""
        halves = job.halves()
        if not halves:
            return False
        ids = tuple(one.id for one in halves)
        self._left.discard(job.id)
        self._left.update(ids)
        self._halves[job.id] = ids
        self._waiting = [
            replace(one, after=tuple(new for old in one.after for new in self._halves.get(old, (old,))))
            for one in (*halves, *self._waiting)
        ]
        return True
