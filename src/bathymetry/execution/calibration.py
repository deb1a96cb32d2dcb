"""How long a plan takes on this machine: the first steps of a few of its ensembles, scaled by steps and members.

The fastest, a middle and the slowest ensemble of each kind are trained for a moment. A training takes
a + b · steps; both are interpolated, as factors of what a model of the machine says (`modelled_step_seconds`).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bathymetry.core.system import one_thread
from bathymetry.data.examples import Examples
from bathymetry.execution.work import Task, Work, modelled_step_seconds
from bathymetry.sweeps.measures import ProbeAtTheEnd
from bathymetry.training import TrainingConfig, train
from bathymetry.training.optimizers import Optimizer

SECONDS = 1.5  # of all trials together, about
Clock = Callable[[], float]
_STORING = 0.012  # seconds to store and read a chunk
_LEAST = 0.25  # seconds of a trial: progress is reported every tenth of a second
_FEW, _MORE = 16, 64  # examples that probes are timed on


@dataclass(frozen=True)
class Estimate:
    """About how long the chunks of a plan take."""

    chunks: Sequence[float]  # seconds of each, with one thread
    trials: int

    def seconds(self, workers: int = 1) -> float:
        """About how long all take with so many workers, the longest first."""
        ends = [0.0] * min(workers, max(len(self.chunks), 1))
        for one in sorted(self.chunks, reverse=True):
            place = ends.index(min(ends))
            ends[place] += one
        return max(ends)


@dataclass(frozen=True)
class _Chunk:
    """A chunk that is missing."""

    modelled: float  # seconds of a step, as the model has it
    task: Task
    members: int


@dataclass(frozen=True)
class _Trial:
    """What was measured of one ensemble, in seconds."""

    modelled: float  # of a step, as the model has it
    fixed: float  # before and after the steps
    step: float
    probes: tuple[float, float]  # once, and for each member


def calibrate(work: Work, seconds: float = SECONDS, clock: Clock = time.perf_counter) -> Estimate:
    """Estimate how long the chunks that are missing take, by trials of about so many seconds in all.

    With `time.process_time` as the clock the estimate is of processor time, whatever else the machine does.
    """
    todo = work.todo
    if not todo:
        return Estimate((), 0)
    kinds: dict[object, list[_Chunk]] = {}
    for task, members in todo:
        modelled = modelled_step_seconds(task.config, len(members))
        kinds.setdefault(_kind(task.config), []).append(_Chunk(modelled, task, len(members)))
    most = max(1, int(seconds / _LEAST / len(kinds)))
    chosen = {kind: _representatives(some, most) for kind, some in kinds.items()}
    share = max(_LEAST, seconds / sum(map(len, chosen.values())))
    with one_thread():
        _attempted(_short(todo[0][0].config), 1, clock)  # loads what trainings load
        trials = {
            kind: [found for one in some if (found := _tried(one, share, clock))] for kind, some in chosen.items()
        }
    chunks = [_of_chunk(one, trials[kind]) for kind, some in kinds.items() for one in some]
    return Estimate(tuple(chunks), sum(map(len, trials.values())))


def _attempted(config: TrainingConfig, members: int, clock: Clock) -> float | None:
    """Seconds of a training; None if it fails, which is said when it is its turn."""
    begun = clock()
    try:
        train(config, members=members)
    except Exception:  # noqa: BLE001
        return None
    return clock() - begun


def _kind(config: TrainingConfig) -> object:
    """What decides how members are computed, besides sizes."""
    own = config.optimizer
    name = type(own).__name__ if isinstance(own, Optimizer) else getattr(own, "func", own)
    return name, config.dtype, tuple(config.measurements), config.record_at is None


def _representatives(some: Sequence[_Chunk], most: int) -> list[_Chunk]:
    """The slowest, the fastest and a middle one, as many of them as there is time for and differ."""
    ordered = sorted(some, key=lambda one: one.modelled)
    indices = [len(ordered) - 1, 0, len(ordered) // 2][:most]
    chosen: list[_Chunk] = []
    for index in sorted(set(indices)):
        if not chosen or ordered[index].modelled > 1.05 * chosen[-1].modelled:
            chosen.append(ordered[index])
    return chosen


class _EnoughError(Exception):
    """Ends a trial that has taken its time."""


def _tried(chunk: _Chunk, seconds: float, clock: Clock) -> _Trial | None:
    """Train for about so many seconds; None if that fails."""
    config, timings = replace(chunk.task.config, measurements={}, snapshots=()), list[tuple[float, float]]()
    end = time.perf_counter() + seconds

    def progress(share: float) -> None:
        timings.append((share * config.num_steps, clock()))
        if len(timings) > 1 and time.perf_counter() > end:
            raise _EnoughError

    begun = clock()
    try:
        train(config, members=chunk.members, progress=progress)
        whole = clock() - begun
    except _EnoughError:
        whole = None
    except Exception:  # noqa: BLE001 - the run says so when it is its turn
        return None
    if len(timings) > 1:
        (first, early), (last, late) = timings[0], timings[-1]
        step = (late - early) / (last - first)
        before = max(early - begun - first * step, 0.0)
        fixed = 1.5 * before  # about as much again to evaluate, but not to build
    else:
        assert whole is not None
        step = min(chunk.modelled, 0.9 * whole / config.num_steps)
        fixed = whole - config.num_steps * step
    if whole is not None:
        fixed = max(whole - config.num_steps * step, 0.0)
    return _Trial(chunk.modelled, fixed, step, _probes(config, chunk.task.config, clock))


def _short(config: TrainingConfig) -> TrainingConfig:
    return replace(config, epochs=None, steps=1, measurements={}, snapshots=())


def _probes(plain: TrainingConfig, config: TrainingConfig, clock: Clock) -> tuple[float, float]:
    """Time all probes on few examples: seconds of what is done once, and of each member on all examples."""
    if not config.measurements:
        return 0.0, 0.0
    examples = config.train_examples

    def spent(rows: int, members: int) -> float:
        few = Examples(examples.inputs[:rows], examples.targets[:rows], examples.scale)
        small = replace(_short(plain), data=(few.x, few.y), batch_size=None, targets=None)
        measured = {
            name: replace(one, function=ProbeAtTheEnd(name, small), epochs=(1,))
            for name, one in config.named_measurements.items()
        }
        without, whole = (_attempted(one, members, clock) for one in (small, replace(small, measurements=measured)))
        return 0.0 if without is None or whole is None else max(whole - without, 1e-4)

    few, more = min(_FEW, len(examples)), min(_MORE, len(examples))
    one = spent(few, 1)
    if one > SECONDS / 4:
        return 0.0, one * len(examples) / few
    each = max(spent(few, 2) - one, 0.1 * one)
    slope = max((spent(more, 1) - one) / (more - few), 0.0) if more > few else 0.0
    return max(one - each, 0.0), each + slope * (len(examples) - few)


def _of_chunk(chunk: _Chunk, trials: Sequence[_Trial]) -> float:
    """Seconds of one chunk, from the trials of its kind; without any, as the model has it."""
    if not trials:
        return chunk.modelled * chunk.task.config.num_steps + _STORING
    at, config = np.log([one.modelled for one in trials]), chunk.task.config

    def between(values: Sequence[float]) -> float:
        return math.exp(float(np.interp(math.log(chunk.modelled), at, np.log(np.maximum(values, 1e-9)))))

    step = chunk.modelled * between([one.step / one.modelled for one in trials])
    fixed = between([one.fixed for one in trials])
    once, each = (between([one.probes[place] for one in trials]) for place in (0, 1))
    probes = once + chunk.members * each
    return fixed + config.num_steps * step + probes + _STORING
