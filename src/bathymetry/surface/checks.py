"""Checks when a surface is made: randomness, state, derivatives, and how much each example of a batch counts."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from bathymetry.core.errors import InputError
from bathymetry.core.randomness import preserve_rng_state, random_states
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.contexts import (
    is_random_in_training,
    layers_that_draw,
    own_generators,
)
from bathymetry.surface.derivative_checks import FEW, Trial, check_gradient, check_product, make_trial, padded_examples
from bathymetry.surface.derivatives import Derivatives
from bathymetry.surface.mlp_derivatives import MLPDerivatives
from bathymetry.surface.network import Network, same_numbers
from bathymetry.surface.parts import GRAPHS, Parts
from bathymetry.surface.selection import Point
from bathymetry.training.loss import Criterion, as_count

_BATCHES = 8  # in which a finite loss is looked for
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_SEEDS = 10  # for a network that draws random numbers without an effect that shows at once


class HiddenRandomness(UserWarning):
    """A network or a loss draws random numbers, which have no effect in the passes of the check."""


def check_surface(derivatives: Derivatives, theta: Point, parts: Parts) -> Callable[[], None] | None:
    """Refuse what makes no loss surface; find out how examples are coupled and counted.

    A check to be made before the first Hessian product is returned, if one is needed.
    """
    network = derivatives.network
    batches = partial(parts.cut, theta[None], GRAPHS, FEW)
    few = parts.place(parts.batches.first.spread(FEW))
    if not _repeats_on_few(derivatives, theta, few):
        few = next(iter(batches()))
        _repeats(derivatives, theta, few)
    if isinstance(derivatives, MLPDerivatives):  # formulas need no check
        return None
    # a batch may have no label that counts
    trials = (make_trial(derivatives, theta, batch) for batch in islice(batches(), _BATCHES))
    trial = next((one for one in trials if one is not None), None)
    has_functions = False
    if trial is not None:
        _check_repeats_elsewhere(trial)
        has_functions = check_gradient(trial)
        padded = padded_examples(network.module, batches)
        if padded is not None:
            check_gradient(trial.on(padded))
        _check_weights(trial, batches, several=parts.batches.count > 1)
        derivatives.criterion.mean_count = _mean_count(trial, batches)
    _check_hidden_randomness(network, partial(_value, derivatives, theta, few))
    # in float32 a step may cross kinks, so that only large differences mean something
    return partial(check_product, trial) if trial is not None and (trial.is_fine or has_functions) else None


def _value(derivatives: Derivatives, theta: Tensor, batch: Batch) -> Tensor:
    """The loss by the network itself, even if there are formulas."""
    with torch.no_grad():
        return derivatives.value(theta, batch)


def _repeats_on_few(derivatives: Derivatives, theta: Tensor, few: Batch) -> bool:
    """Whether a few examples do: the network takes them, has a finite loss there, and draws no random numbers."""
    try:
        return _repeats(derivatives, theta, few)
    except InputError:
        return False


def _repeats(derivatives: Derivatives, theta: Tensor, batch: Batch) -> bool:
    """Refuse a loss that differs between two evaluations; whether it is finite and without random numbers."""
    network = derivatives.network

    def value() -> Tensor:
        try:
            return _value(derivatives, theta, batch)
        except InputError:
            raise
        except Exception as error:
            shape = [tuple(tensor.shape) for tensor in batch.tensors()]
            remedy = f"the network or the loss refuses them ({network.explained(error, batch)})"
            raise InputError("data", f"tensors of shape {shape}", remedy) from error

    with network.watched() as behaviour, network.measuring():
        (first, drew), (second, _) = _seeded(0, value), _seeded(1, value)
    behaviour.draws = drew
    if behaviour.keeps:
        remedy = "its forward pass writes into a tensor that it keeps: register that as a buffer"
        raise InputError("model", network.kind, remedy)
    if not same_numbers(first, second):
        raise network.unsteady_error(drew, value)
    return not drew and bool(first.isfinite())


def _check_repeats_elsewhere(trial: Trial) -> None:
    """Refuse a network whose randomness shows only away from its initial parameters."""
    first = trial.number(trial.result).double()
    for seed in range(1, _SEEDS if trial.draws else 1):
        loss, drew = _seeded(seed, trial.along)
        if not torch.equal(first, loss):
            raise trial.network.unsteady_error(drew, trial.along)
        if not drew:
            return


def _seeded(seed: int, ask: Callable[[], Tensor]) -> tuple[Tensor, bool]:
    """An answer with random states set to a seed, and whether random numbers were drawn."""
    with preserve_rng_state(seed):
        before = random_states()
        return ask(), random_states() != before


def _check_hidden_randomness(network: Network, ask: Callable[[], Any]) -> None:
    """Warn of random numbers that are drawn without an effect, and refuse a layer known to use them."""
    generators = own_generators(network.twin)
    if not (network.behaviour.draws or generators):
        return
    with network.measuring(), preserve_rng_state(), layers_that_draw(network.twin, generators) as found:
        before = random_states(generators)
        ask()
        drew = random_states(generators) != before
    if not drew:
        return
    layers = {name: network.twin.get_submodule(name) for name in found}
    if any(layer.training and is_random_in_training(layer) for layer in layers.values()):
        raise network.randomness_error()
    kinds = [f"layer {name} ({type(one).__name__})" if name else network.kind for name, one in layers.items()]
    remedy = "make the noise an input, ((x, noise), y)"
    if any(layer.training for layer in layers.values()):
        remedy = 'call model.eval() first, or use mode="no_dropout"'
    what = f"{', '.join(kinds[:3]) or 'the loss'} draws random numbers, so far without an effect"
    warnings.warn(f"{what}; with one there is no loss surface: {remedy}", HiddenRandomness, stacklevel=4)


def _check_weights(trial: Trial, batches: Callable[[], Iterable[Batch]], *, several: bool) -> None:
    """Find out whether a batch's loss is the weighted mean over its parts.

    A network that couples its examples, as BatchNorm does, keeps its batches whole. A loss that does is refused where
    there are several batches: their means would not make the loss of all data.
    """
    network, criterion = trial.network, trial.criterion
    is_known = criterion.is_known or trial.returns_pair
    for batch in islice(batches(), 1) if is_known else _with_mixed_batches(batches(), criterion.name):
        for parts in _cuts(batch.map(network.cast), known=criterion.is_known):
            try:
                with network.measuring(), torch.no_grad():
                    raws = [trial.raw(trial.theta, part) for part in parts]
            except InputError:  # not even defined on fewer examples
                network.behaviour.couples = True
                return
            if _adds_up(trial, raws, parts):
                continue
            if not criterion.is_known and not _is_of_network(trial, parts):
                _refuse_broadcasting(trial, parts[0])
                if several and not trial.returns_pair:
                    raise _unknown_weights(criterion, raws)
            network.behaviour.couples = True
            return


def _cuts(batch: Batch, *, known: bool) -> list[list[Batch]]:
    """A batch with its parts: halves of a few examples, and for a loss of unknown weights fifths of all."""
    few = batch.spread(FEW)
    cuts = [[few, *few.split((few.rows + 1) // 2)]]
    if not known:
        cuts += [[few, *few.split(1)], [batch, *batch.split((batch.rows + 4) // 5)]]
    return [parts for parts in cuts if len(parts) > 2]


def _with_mixed_batches(batches: Iterable[Batch], loss: str) -> Iterator[Batch]:
    """Each batch, and a few examples of it with a few of the first, which may be weighted otherwise."""
    rest = iter(batches)
    first = next(rest)
    yield first
    for batch in rest:
        yield batch
        if [label.shape[1:] for label in _labels(batch)] != [label.shape[1:] for label in _labels(first)]:
            shapes = " and ".join(str(tuple(_labels(one)[0].shape)) for one in (first, batch))
            remedy = "so it may be a mean over examples or over labels: expected a loss that returns (sum, count)"
            raise InputError("loss", loss, f"batches have labels of shapes {shapes}, {remedy}")
        mixed = _mixed(first.spread(FEW // 2), batch.spread(FEW // 2))
        if mixed is not None:
            yield mixed


def _mixed(one: Batch, other: Batch) -> Batch | None:
    """Both as one batch, if their shapes allow it."""
    if len(one.tensors()) != len(other.tensors()):
        return None
    partners = iter(other.tensors())
    try:
        mixed = one.map(lambda tensor: torch.cat([tensor, next(partners)]) if tensor.ndim else tensor)
    except RuntimeError:  # other shapes
        return None
    return replace(mixed, rows=one.rows + other.rows)


def _labels(batch: Batch) -> list[Tensor]:
    """Whole-numbered targets, and what a mapping of inputs calls labels."""
    named = batch.inputs.items() if isinstance(batch.inputs, Mapping) else ()
    inside = [tensor for name, part in named if "label" in str(name) for tensor in tensors_of(part)]
    found = [*tensors_of(batch.targets), *inside]
    return [one for one in found if one.ndim and one.dtype in _WHOLE]


def _adds_up(trial: Trial, raws: list[Any], parts: list[Batch]) -> bool:
    """Whether the loss of the first part is that of the others together; true if it is not finite."""
    criterion = trial.criterion
    if trial.returns_pair:
        return all(_sums_up([float(raw[i]) for raw in raws], trial.rounding) for i in (0, 1))
    weights = [criterion.weight(part.targets, part.rows) for part in parts]  # 1 for a sum
    values = [float(criterion.value(raw)) for raw in raws]
    return _sums_up([w * v for w, v in zip(weights, values, strict=True) if w > 0], trial.rounding)


def _sums_up(values: list[float], rounding: float) -> bool:
    whole, *parts = values or [0.0]
    if not parts or not isfinite(whole):  # nothing to compare with
        return True
    return all(map(isfinite, parts)) and abs(whole - sum(parts)) <= 1e3 * rounding * sum(map(abs, values))


def _is_of_network(trial: Trial, parts: list[Batch]) -> bool:
    """Whether it is the network, not the loss, in which examples depend on one another.

    The loss of rows of one and the same output leaves the network out of it. Where an output has no rows, only
    BatchNorm counts as coupling by the network.
    """
    if trial.criterion.takes_model:
        return trial.network.couples_examples
    whole, *others = parts
    with trial.network.measuring(), torch.no_grad():
        output = trial.output(trial.theta, whole)
        leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        if not leaves or not all(leaf.ndim and len(leaf) and len(leaf) % whole.rows == 0 for leaf in leaves):
            return trial.network.couples_examples
        raws, start = [trial.criterion.raw(output, *whole.targets)], 0
        for part in others:
            rows = _rows_of(output, slice(start, start + part.rows), whole.rows)
            raws.append(trial.criterion.raw(rows, *part.targets))
            start += part.rows
    return _adds_up(trial, raws, parts)


def _rows_of(output: Any, rows: slice, of: int) -> Any:
    """The part of an output that belongs to some examples; each may have several rows."""

    def cut(leaf: Tensor) -> Tensor:
        each = len(leaf) // of
        return leaf[rows.start * each : rows.stop * each]

    return tree_map_only(Tensor, cut, output)


def _refuse_broadcasting(trial: Trial, few: Batch) -> None:
    """Name the cause where a loss compares each output with each target."""
    if trial.criterion.takes_model or not few.targets:
        return
    with trial.network.measuring(), torch.no_grad():
        output, target = trial.output(trial.theta, few), few.targets[0]
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not target.is_floating_point():
        return
    if output.shape != target.shape and output.numel() == target.numel():
        wrong, right = (str(("n", *one.shape[1:])).replace("'", "") for one in (target, output))
        remedy = f"the loss broadcasts them, each output against each target; expected targets of shape {right}"
        raise InputError("data", f"targets of shape {wrong} for outputs of shape {right}", remedy)


def _unknown_weights(criterion: Criterion, raws: list[Any]) -> InputError:
    values = [float(criterion.value(raw)) for raw in raws]
    remedy = "it is a sum over its batch; expected a mean over its examples, or a loss that returns (sum, 1)"
    if not _sums_up(values, 1e-9):
        numbers = f"{values[0]:.6g}, and {values[1]:.6g} and {values[2]:.6g}{' …' * (len(values) > 3)} on its parts"
        remedy = f"it is no mean over the examples of a batch ({numbers}); expected a loss that returns (sum, count), "
        remedy += "such as (value * count, count) with the labels that count, or all data as one batch"
    return InputError("loss", criterion.name, remedy)


def _mean_count(trial: Trial, batches: Callable[[], Iterable[Batch]]) -> float | None:
    """The count of an example, a mean over the data, for a loss that returns (sum, count)."""
    if not trial.returns_pair:
        return None
    with trial.network.measuring(), torch.no_grad():
        elsewhere = trial.raw(trial.theta + trial.direction, trial.batch)
        if float(as_count(trial.result[1])) != float(as_count(elsewhere[1])):
            remedy = "its count depends on the parameters; expected a count that follows from the batch alone"
            raise InputError("loss", trial.criterion.name, remedy)
        count, rows = 0.0, 0
        for batch in batches():
            count += float(as_count(trial.raw(trial.theta, batch.map(trial.network.cast))[1]))
            rows += batch.rows
    if count <= 0:
        raise InputError("loss", trial.criterion.name, f"its counts add up to {count:g}; expected more than 0")
    return count / rows
