"""Which backend trains an ensemble: the first that suits."""

import copy

import torch
from torch import Tensor, nn

from bathymetry.core.errors import InputError, first_line
from bathymetry.core.randomness import preserve_rng_state, seed_generators
from bathymetry.training.attributes import comparable, own_attributes
from bathymetry.training.backends import Backend, BackendName, Batch, LoopBackend, VmapBackend
from bathymetry.training.ensemble import Ensemble
from bathymetry.training.perceptrons import MLPBackend

VMAP_NUMBERS = 8_192  # input numbers per batch up to which vmap is faster on a CPU: the table in docs/decisions.md
_FALLBACKS = (nn.RNNBase, nn.MultiheadAttention, nn.TransformerEncoderLayer)  # which vmap does not batch


def choose_backend(requested: BackendName, ensemble: Ensemble, trial: Batch, batch_numbers: int) -> tuple[Backend, str]:
    """Choose by the rule in the docstring of `train`, and say why members are not batched.

    `trial` is a batch of a few examples in the form that the training uses; a real one has `batch_numbers` numbers.
    """
    inputs = trial.inputs if trial.shared else trial.inputs[0]
    if ensemble.activations is not None and ensemble.formula is not None:
        return MLPBackend(ensemble.parameters, ensemble.gradients, ensemble.activations, ensemble.formula), ""
    if requested == "stacked":
        remedy = "only a plain multilayer perceptron on rows of numbers can take it, with loss mse or cross_entropy"
        raise InputError("backend", requested, f"{remedy}, and no label of −100")
    small = ensemble.parameters.flat.is_cuda or batch_numbers <= VMAP_NUMBERS
    problem: str | None = "" if requested == "loop" else f"a batch has more than {VMAP_NUMBERS:,} input numbers"
    if requested == "vmap" or (requested == "auto" and small):
        batched = VmapBackend(ensemble)
        problem = _problem(batched, ensemble, inputs, trial)
        if problem is None:
            return batched, ""
        if requested == "vmap":
            raise InputError("backend", requested, f"{problem}; expected auto or loop")
    return LoopBackend(ensemble), f"Members were trained one by one: {problem}." if problem else ""


def _problem(batched: VmapBackend, ensemble: Ensemble, inputs: Tensor, trial: Batch) -> str | None:
    """Say why `torch.func` can't stand in for the networks, of which copies are called; None if it can."""
    first, *others = ensemble.modules
    layer = next((type(one).__name__ for one in first.modules() if not _can_be_batched(one)), None)
    if layer is not None:
        return f"torch.func can't batch {layer}, which is random, recurs or keeps running statistics"
    if not all(_differ_by_state_only(first, one) for one in others):
        return "torch.func can't batch networks whose layers differ"
    if not _is_steady(first, inputs):
        return "torch.func can't batch a network that is random, writes buffers or attributes, or depends on its mode"
    try:
        losses = []
        with preserve_rng_state():
            outputs = batched.outputs(inputs)
            for seed in (0, 1):
                seed_generators(seed)
                losses.append(batched.differentiate(trial))
        if not torch.equal(losses[0].nan_to_num(), losses[1].nan_to_num()):
            return "torch.func can't batch a loss that draws random numbers"
    except Exception as error:  # noqa: BLE001 - such as `if h.sum() > 0` in the network or the loss
        return f"torch.func can't batch the network or the loss ({first_line(error)})"
    finally:
        ensemble.gradients.flat.zero_()
    with torch.no_grad():
        alone = torch.stack([copy.deepcopy(module)(inputs) for module in ensemble.modules])
    close = torch.allclose(outputs, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()), equal_nan=True)
    return None if close else "torch.func gives other outputs than the networks alone"


def _is_steady(module: nn.Module, inputs: Tensor) -> bool:
    """Whether outputs depend neither on the mode nor on random numbers, and no buffer and no attribute changes."""
    own = copy.deepcopy(module)
    before = _state(own)
    outputs = []
    try:
        with preserve_rng_state(), torch.no_grad():
            for seed, training in ((0, True), (1, True), (2, False)):
                seed_generators(seed)
                outputs.append(own.train(training)(inputs))
    except Exception:  # noqa: BLE001 - the loop will say what is wrong
        return False
    same = all(isinstance(one, Tensor) and torch.equal(one, outputs[0]) for one in outputs)
    return same and _state(own) == before


def _state(module: nn.Module) -> list[object]:
    buffers = {name: comparable(buffer) for name, buffer in module.named_buffers()}
    return [
        buffers,
        *({name: comparable(one) for name, one in own_attributes(layer).items()} for layer in module.modules()),
    ]


def _can_be_batched(layer: nn.Module) -> bool:
    keeps_statistics = isinstance(layer, nn.modules.batchnorm._NormBase) and layer.track_running_stats
    is_random = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
    return not (keeps_statistics or is_random or isinstance(layer, _FALLBACKS))


def _differ_by_state_only(first: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have the same layers with the same attributes, apart from parameters and buffers."""
    pairs = zip(first.modules(), other.modules(), strict=False)
    return all(type(one) is type(two) and _public(one) == _public(two) for one, two in pairs)


def _public(layer: nn.Module) -> dict[str, object]:
    return {name: comparable(one, 0) for name, one in own_attributes(layer).items() if not name.startswith("_")}
