"""What has to be known of a network and a loss before they make a surface, found out by asking them.

Twice with other random numbers, so that whatever is random shows itself; with a batch and its halves, so that examples
which depend on one another do, and losses that weight a batch in a way of their own; and with tensors that count how
often they are written into.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface.automatic import AutomaticDerivatives
from bathymetry.surface.batches import Batch, tensors_of
from bathymetry.surface.network import Network
from bathymetry.surface.randomness import unstirred
from bathymetry.surface.trial import FEW, Trial, random_states
from bathymetry.training.loss import Criterion, as_count


def inspect(network: Network, derivatives: AutomaticDerivatives, theta: Tensor, batch: Batch) -> None:
    """Find out whether a network is random or writes into what it is handed.

    Args:
        network: The network, which keeps what was found.
        derivatives: How to ask.
        theta: Where.
        batch: The first of the data.

    Raises:
        InputError: If network or loss refuse the data, keep what they write, or are random.
    """
    losses = []
    with network.watched() as watch, network.measuring():
        for seed in (0, 1):
            with unstirred(seed):
                before = random_states()
                losses.append(_asked(network, derivatives, theta[None], batch))
                watch.drew |= random_states() != before
    if watch.kept_something:
        remedy = "its forward pass writes into a tensor that it keeps: register that as a buffer"
        raise InputError("model", network.kind, remedy)
    if not torch.equal(losses[0], losses[1]) and not bool(losses[0].isnan() & losses[1].isnan()):
        why = network.unsteady(watch, lambda: _asked(network, derivatives, theta[None], batch))
        raise why


def check_weighting(trial: Trial, network: Network, batches: Iterable[Batch], *, several: bool) -> None:
    """Find out whether a batch's loss is the weighted mean over its parts, and refuse a loss for which it is not.

    A network that couples its examples, as BatchNorm does, keeps its batches whole. A loss that does is refused where
    there are several batches: their means would not make the loss of all data.

    Args:
        trial: The network and the loss at a perturbed point.
        network: The network that keeps what was found.
        batches: What to look at.
        several: Whether the data have more than one batch.

    Raises:
        _unknown_weights: If the loss weights the examples of a batch in a way that is not known.
    """
    for batch in batches:
        for parts in _ways_to_cut(batch, known=trial.criterion.is_known):
            try:
                with trial.network.measuring(), torch.no_grad():
                    raws = [trial.raw(trial.theta, part) for part in parts]
            except InputError:  # not even defined on fewer examples
                network.coupled = True
                return
            if _adds_up(trial, raws, parts):
                continue
            if not trial.criterion.is_known and not _is_of_network(trial, parts):
                _refuse_broadcasting(trial, parts[0])
                if several and not _is_pair(raws[0]):
                    raise _unknown_weights(trial.criterion, raws)
            network.coupled = True
            return


def _ways_to_cut(batch: Batch, *, known: bool) -> list[list[Batch]]:
    """Give a batch with its parts: halves of a few examples, and for a loss of unknown weights fifths of all."""
    few = batch.spread(FEW)
    ways = [[few, *few.split((few.rows + 1) // 2)]]
    if not known:
        ways += [[few, *few.split(1)], [batch, *batch.split((batch.rows + 4) // 5)]]
    return [parts for parts in ways if len(parts) > 2]


def total_count(trial: Trial, batches: Iterable[Batch]) -> float | None:
    """Sum the counts of a loss that returns (sum, count) over the data.

    Args:
        trial: The network and the loss at a perturbed point.
        batches: All data.

    Returns:
        The sum of the counts; None for a loss that returns a number.

    Raises:
        InputError: If counts depend on the parameters.
    """
    if not _is_pair(trial.value):
        return None
    with trial.network.measuring(), torch.no_grad():
        elsewhere = trial.raw(trial.theta + trial.direction, trial.batch)
        if float(as_count(trial.value[1])) != float(as_count(elsewhere[1])):
            remedy = "its count depends on the parameters; expected a count that follows from the batch alone"
            raise InputError("loss", trial.criterion.name, remedy)
        return sum(float(as_count(trial.raw(trial.theta, batch)[1])) for batch in batches)


def telling_batches(batches: Iterable[Batch], loss: str) -> Iterator[Batch]:
    """Choose batches on which a loss would show that it counts some examples more than others.

    Args:
        batches: All data.
        loss: The name of the loss.

    Yields:
        Every batch, and a few examples of each with a few of the first, where their shapes allow it.

    Raises:
        InputError: If labels have another shape in another batch, so that nothing tells how they count.
    """
    first: Batch | None = None
    for batch in batches:
        yield batch
        if first is None:
            first = batch
            continue
        if [label.shape[1:] for label in _labels(batch)] != [label.shape[1:] for label in _labels(first)]:
            shapes = " and ".join(str(tuple(_labels(one)[0].shape)) for one in (first, batch))
            remedy = (
                f"batches have labels of shapes {shapes}, and nothing says whether it is a mean over examples or over "
                "labels; expected a loss that returns (sum, count), or one of PyTorch's"
            )
            raise InputError("loss", loss, remedy)
        mixed = _mixed(first, batch)
        if mixed is not None:
            yield mixed


def _mixed(one: Batch, other: Batch) -> Batch | None:
    parts = [batch.spread(FEW // 2) for batch in (one, other)]
    if len(parts[0].tensors()) != len(parts[1].tensors()):
        return None
    partners = iter(parts[1].tensors())
    try:
        whole = parts[0].map(lambda tensor: torch.cat([tensor, next(partners)]) if tensor.ndim else tensor)
    except RuntimeError:  # other shapes
        return None
    return Batch(whole.inputs, whole.targets, parts[0].rows + parts[1].rows)


def _labels(batch: Batch) -> list[Tensor]:
    """Whole-numbered targets, and what a mapping of inputs calls labels."""
    named = batch.inputs.items() if isinstance(batch.inputs, Mapping) else ()
    inside = [tensor for name, part in named if "label" in str(name) for tensor in tensors_of(part)]
    return [one for one in [*tensors_of(batch.targets), *inside] if _are_labels(one) and one.ndim]


def _are_labels(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool


def _is_pair(raw: Any) -> bool:
    return isinstance(raw, tuple | list)


def _adds_up(trial: Trial, raws: list[Any], parts: list[Batch]) -> bool:
    """Whether the loss of the first part is that of the others together; true where that of the first is not finite."""
    criterion = trial.criterion
    if _is_pair(raws[0]):
        return all(_close([float(raw[i]) for raw in raws], trial.rounding) for i in (0, 1))
    values = [float(criterion.value(raw)) for raw in raws]
    if not criterion.is_mean:
        return _close(values, trial.rounding)
    weights = [criterion.weight(part.targets, part.rows) for part in parts]
    return _close([w * v for w, v in zip(weights, values, strict=True) if w > 0], trial.rounding)


def _close(values: list[float], rounding: float) -> bool:
    whole, *parts = values or [0.0]
    tensor = torch.tensor(values)
    scale = sum(abs(one) for one in values)
    if not parts or not bool(tensor[0].isfinite()):  # nothing to compare with
        return True
    return bool(tensor.isfinite().all()) and abs(whole - sum(parts)) <= 1e3 * rounding * scale


def _is_of_network(trial: Trial, parts: list[Batch]) -> bool:
    """Whether it is the network, not the loss, in which examples depend on one another."""
    # The loss of rows of one and the same output leaves the network out of it. Where an output has no rows, only
    # BatchNorm counts as coupling by the network.
    whole = parts[0]
    if trial.criterion.takes_model:
        return trial.network.couples_examples
    with trial.network.measuring(), torch.no_grad():
        output = trial.output(whole)
        leaves = tensors_of(output)
        if not leaves or not all(leaf.ndim and len(leaf) and len(leaf) % whole.rows == 0 for leaf in leaves):
            return trial.network.couples_examples
        starts = [sum(part.rows for part in parts[1:position]) for position in range(1, len(parts))]
        raws = [trial.criterion.raw(output, *whole.targets)]
        for start, part in zip(starts, parts[1:], strict=True):
            rows = _rows_of(output, start, part.rows, whole.rows)
            raws.append(trial.criterion.raw(rows, *part.targets))
    return _adds_up(trial, raws, parts)


def _rows_of(tree: Any, start: int, rows: int, of: int) -> Any:
    if isinstance(tree, Tensor):
        each = len(tree) // of
        return tree[start * each : (start + rows) * each]
    if isinstance(tree, Mapping):
        return {name: _rows_of(part, start, rows, of) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(_rows_of(part, start, rows, of) for part in tree)
    return tree


def _refuse_broadcasting(trial: Trial, few: Batch) -> None:
    """Name the cause where a loss compares each output with each target."""
    if trial.criterion.takes_model or not few.targets:
        return
    with trial.network.measuring(), torch.no_grad():
        output = trial.output(few)
    target = few.targets[0]
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not target.is_floating_point():
        return
    if output.shape != target.shape and output.numel() == target.numel():
        shapes = f"targets of shape (n{_tail(target)}) for outputs of shape (n{_tail(output)})"
        remedy = (
            f"the loss broadcasts them, each output against each target; expected targets of shape (n{_tail(output)})"
        )
        raise InputError("data", shapes, remedy)


def _tail(tensor: Tensor) -> str:
    return "".join(f", {size}" for size in tensor.shape[1:]) or ","


def _unknown_weights(criterion: Criterion, raws: list[Any]) -> InputError:
    whole, *parts = [float(criterion.value(raw)) for raw in raws]
    if _close([whole, *parts], 1e-9):
        remedy = "it is a sum over its batch; expected a mean over its examples, or a loss that returns (sum, 1)"
    else:
        listed = " and ".join(f"{one:.6g}" for one in parts[:2])
        more = " …" if len(parts) > 2 else ""
        remedy = (
            f"it is no mean over the examples of a batch ({whole:.6g} for one, {listed}{more} for its parts), so "
            "batches can't be weighted; expected a loss that returns (sum, count), for example (value * count, count) "
            "with the number of labels that count, or one of PyTorch's with ignore_index, or all data as one batch"
        )
    return InputError("loss", criterion.name, remedy)


def _asked(network: Network, derivatives: AutomaticDerivatives, points: Tensor, batch: Batch) -> Tensor:
    try:
        return derivatives.loss(points, batch)[0]
    except InputError:
        raise
    except Exception as error:
        shape = [tuple(tensor.shape) for tensor in batch.tensors()]
        remedy = f"the network or the loss refuses them ({network.explained(error, batch)})"
        raise InputError("data", f"tensors of shape {shape}", remedy) from error
