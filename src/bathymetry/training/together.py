"""Several configs of one architecture, trained as one stack with the numbers that each has alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from bathymetry.core.errors import InputError
from bathymetry.core.identity import Description, canonical, describe, digest
from bathymetry.core.randomness import preserve_rng_state
from bathymetry.training.checkpoint import Checkpoint, Clock
from bathymetry.training.config import TrainingConfig
from bathymetry.training.ensemble import built_by
from bathymetry.training.loop import TrainingRun, device_of, member_range
from bathymetry.training.loss import Criterion
from bathymetry.training.optimizers import Optimizer
from bathymetry.training.perceptrons import activations_of
from bathymetry.training.result import Trained


def stack_key(config: TrainingConfig) -> str | None:
    """Configs with equal keys can train as one stack; None for one that can train only alone.

    They differ at most in seed, hyperparameters, targets and the rule that stops them.
    """
    if not isinstance(config.optimizer, Optimizer) or config.train_examples.inputs.ndim != 2:
        return None
    if Criterion(config.loss).plain is None:
        return None
    with preserve_rng_state():
        if activations_of(built_by(config.network)) is None:
            return None
    try:
        plain = replace(config, optimizer=type(config.optimizer)(), seed=0, targets=None, evaluate_on=None, stop=None)
        plain = replace(plain, measurements={})
        described: dict[str, Description] = {"config": plain.description()}
        for name, one in config.named_measurements.items():
            described[f"measurement {name}"] = describe([one.epochs, one.dimension, one.axes])
    except InputError:  # code that can't be described
        return None
    described["evaluate on"] = describe(None if config.evaluate_on is None else sorted(config.evaluate_on))
    return digest(canonical(described))


def train_together(
    parts: Sequence[tuple[TrainingConfig, range]],
    *,
    device: str | torch.device = "cpu",
    progress: Callable[[float], None] | None = None,
    checkpoint: Callable[[Checkpoint], None] | None = None,
    checkpoint_every: float = 60.0,
    resume: Checkpoint | None = None,
) -> list[Trained]:
    """Train configs of equal `stack_key`, each with its own members; each result is that of `train`, bit for bit."""
    keys = [stack_key(config) for config, _ in parts]
    if not parts or None in keys or len(set(keys)) > 1:
        raise InputError("parts", f"{len(parts)} configs", "expected configs with the same stack_key, not None")
    clock = Clock(progress, checkpoint, checkpoint_every)
    ranges = [(config, member_range(members)) for config, members in parts]
    run = TrainingRun(ranges, device_of(device), "stacked")
    if resume is not None:
        run.resume(resume)
    return run.run(clock)
