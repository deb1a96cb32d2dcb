"""Inputs and outputs of a network: which of several is meant, and whether outputs are correct."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch
from bathymetry.training.loss import is_correct

Output = str | int | Callable[[Any], Tensor] | None  # a name, a position, a function; None for the only one
Wrt = str | int | None  # a name or a position of an input


def chosen_output(answer: Any, output: Output) -> Tensor:
    """Choose one tensor of what a network returned: a tuple, a mapping, or an object with attributes."""
    if output is None and isinstance(answer, Tensor):
        return answer
    if output is None:
        raise InputError("output", None, f"the network returns {_listed(answer)}: expected one of them by output=")
    if isinstance(output, bool) or not (isinstance(output, str | int) or callable(output)):
        raise InputError("output", output, "expected a name, a position, or a function of the network's output")
    shown = getattr(output, "__name__", output)
    try:
        found = output(answer) if callable(output) else _part(answer, output)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        remedy = f"the network returns {_listed(answer)}: expected one of them"
        raise InputError("output", shown, remedy) from error
    if not isinstance(found, Tensor):
        raise InputError("output", shown, f"it is a {type(found).__name__}: expected a tensor of {_listed(answer)}")
    return found


def derived_input(batch: Batch, wrt: Wrt) -> tuple[Tensor, Callable[[Tensor], Batch]]:
    """The input by which a derivative is taken, and a function that puts another in its place."""
    inputs = batch.inputs
    parts: dict[Any, Any] = {None: inputs}
    if isinstance(inputs, Mapping | tuple):
        parts = dict(inputs) if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    if isinstance(wrt, bool) or not isinstance(wrt, str | int | None) or wrt not in parts:
        listed = "None, as the network has one input" if None in parts else f"one of {', '.join(map(repr, parts))}"
        raise InputError("wrt", wrt, f"expected {listed}")
    found = parts[wrt]
    if not isinstance(found, Tensor) or not found.is_floating_point():
        kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
        remedy = "expected a tensor of real numbers, which have derivatives, such as embeddings in place of tokens"
        raise InputError("data", f"inputs that are {kind}", remedy)
    if found.ndim == 0 or len(found) != batch.rows:
        raise InputError("wrt", wrt, f"it has shape {tuple(found.shape)}; expected a row for each example")

    def put(tensor: Tensor) -> Batch:
        if None in parts:
            return replace(batch, inputs=tensor)
        changed = {**parts, wrt: tensor}
        return replace(batch, inputs=changed if isinstance(inputs, Mapping) else tuple(changed.values()))

    return found, put


def are_correct(
    outputs: Float[Tensor, "member example *output"], classes: Int[Tensor, "example *position"], *, by_class: bool
) -> Bool[Tensor, "member example *position"]:
    """Compare outputs, one for each class, with the correct classes."""
    # (member, example, class); for several labels an example (member, example, class, *position) or (member, example,
    # *position, class): the first if the loss has its classes there, as PyTorch's have, else whichever fits
    shape, wanted = tuple(outputs.shape[1:]), tuple(classes.shape)
    after, last = (shape[:1] + shape[2:] == wanted, shape[:-1] == wanted)
    if len(shape) < 2 or not (after or last) or (after and last and len(shape) > 2 and not by_class):
        remedy = "expected one output for each class, for each label: (example, class, *position)"
        raise InputError("data", f"classes of shape {wanted} for outputs of shape {shape}", remedy)
    axis = 2 if after else outputs.ndim - 1
    # a label without an output is one that the loss ignores, such as −100 or 255: no output is correct for it
    known = classes.clamp(0, outputs.shape[axis] - 1)
    return is_correct(outputs.movedim(axis, 2), known.expand(len(outputs), *wanted)) & (classes == known)


def _part(answer: Any, output: str | int) -> Any:
    if isinstance(output, str) and not isinstance(answer, Mapping):
        return getattr(answer, output)
    if isinstance(answer, Tensor):
        raise TypeError("a tensor has no parts")
    return answer[output]


def _listed(answer: Any) -> str:
    kind = type(answer).__name__
    if isinstance(answer, Tensor):
        return "one tensor, which needs no output="
    if hasattr(answer, "_fields"):
        names = list(answer._fields)
    elif isinstance(answer, tuple | list):
        return f"{kind} of {len(answer)}, from 0 to {len(answer) - 1}"
    elif isinstance(answer, Mapping):
        names = list(map(str, answer))
    elif is_dataclass(answer):
        names = [one.name for one in fields(answer)]
    else:
        names = [name for name in getattr(answer, "__dict__", {}) if name[0] != "_"]
    return f"{kind} of {', '.join(names)}" if names else kind
