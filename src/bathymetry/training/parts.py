"""What belongs to each config of those that train together, and what they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.training.backends import Backend
from bathymetry.training.config import TrainingConfig
from bathymetry.training.ensemble import Ensemble, EvaluationSet, StackedTensors, build_members
from bathymetry.training.loss import Criterion
from bathymetry.training.perceptrons import activations_of_all
from bathymetry.training.records import Recorder


@dataclass
class Part:
    """What belongs to one config of those that train together."""

    config: TrainingConfig
    members: range
    place: slice  # of the stack
    modules: Sequence[nn.Module]
    recorder: Recorder
    backend: Backend  # of these members alone
    stacks: dict[str, Any] = field(default_factory=dict)  # views of their parameters, gradients and moments
    finished: bool = False  # whether all members have stopped


def joined(field: str, sets: Sequence[EvaluationSet], sizes: Sequence[int]) -> EvaluationSet:
    """One set for the members of all parts, which have the same inputs."""
    first, *others = sets
    if not others:
        return first
    for one in others:
        same = one.examples.inputs is first.examples.inputs or torch.equal(one.examples.inputs, first.examples.inputs)
        if not same or one.examples.scale != first.examples.scale:
            raise InputError(field, "inputs that differ", "expected the same inputs for all that train together")
    if all(one.own_targets is None and torch.equal(one.examples.targets, first.examples.targets) for one in sets):
        return first
    own = torch.cat([one.targets(size) for one, size in zip(sets, sizes, strict=True)])
    return EvaluationSet(first.examples, own)


def stacked_ensemble(
    parts: Sequence[tuple[TrainingConfig, range]],
    device: torch.device,
    sets: Sequence[EvaluationSet],
    *,
    may_stack: bool,
) -> Ensemble:
    """Build the members and stack them."""
    config = parts[0][0]
    criterion = Criterion(config.loss, config.dtype).to(device)
    built: list[nn.Module] = []
    for one, numbers in parts:
        built += build_members(one.network, numbers, int(one.seed), same_start=one.same_start)
    modules = [module.to(device=device, dtype=config.dtype) for module in built]
    trainable = [{n: p for n, p in module.named_parameters() if p.requires_grad} for module in modules]
    formula = _formula(criterion, sets)
    may_stack &= formula is not None and config.train_examples.inputs.ndim == 2
    activations = activations_of_all(modules) if may_stack else None
    parameters = StackedTensors.of(trainable, config.dtype, device, dense=activations is not None)
    gradients = parameters.zeros_like()
    members = [(int(one.seed), number) for one, numbers in parts for number in numbers]
    return Ensemble(members, modules, parameters, gradients, criterion, formula, activations)


def _formula(criterion: Criterion, sets: Sequence[EvaluationSet]) -> str | None:
    """Name "mse" or "cross_entropy" if the loss is just that on all targets; the formulas know no ignored labels."""
    targets = [one.examples.targets if one.own_targets is None else one.own_targets for one in sets]
    if criterion.plain == "mse":
        return "mse" if all(one.is_floating_point() for one in targets) else None
    whole = all(one.dtype == torch.int64 and bool(criterion.counted(one).all()) for one in targets)
    return criterion.plain if whole else None
