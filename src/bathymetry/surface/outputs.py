"""Which tensor is meant, of several inputs or outputs: in a tuple, a mapping, or an object with attributes."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface.batches import Batch

Wrt = str | int | None
Output = str | int | Callable[[Any], Tensor] | None


def chosen_output(answer: Any, output: Output) -> Tensor:
    """Choose a tensor of what a network answered.

    Args:
        answer: What it answered.
        output: A name, a position, or a function of the answer; None where the answer is a tensor.

    Returns:
        The tensor.

    Raises:
        InputError: If there is none.
    """
    if output is None:
        if not isinstance(answer, Tensor):
            raise InputError(
                "output", None, f"the network answers with {_listed(answer)}: expected one of them by output="
            )
        return answer
    if isinstance(output, bool) or not (isinstance(output, str | int) or callable(output)):
        raise InputError("output", output, "expected a name, a position, or a function of the network's output")
    try:
        found = output(answer) if callable(output) else _part(answer, output)
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        shown = getattr(output, "__name__", output)
        raise InputError(
            "output", shown, f"the network answers with {_listed(answer)}: expected one of them"
        ) from error
    if not isinstance(found, Tensor):
        shown = getattr(output, "__name__", output)
        raise InputError("output", shown, f"it is a {type(found).__name__}: expected a tensor of {_listed(answer)}")
    return found


def _part(answer: Any, output: str | int) -> Any:
    if isinstance(output, str) and not isinstance(answer, Mapping):
        return getattr(answer, output)
    if isinstance(answer, Tensor):
        raise TypeError("a tensor has no parts")
    return answer[output]


def _listed(answer: Any) -> str:
    """Say what there is to choose from."""
    kind = type(answer).__name__
    if isinstance(answer, Tensor):
        return "one tensor, which needs no output="
    if isinstance(answer, Mapping):
        return f"{kind} of {', '.join(map(str, answer))}"
    if hasattr(answer, "_fields"):
        return f"{kind} of {', '.join(answer._fields)}"
    if isinstance(answer, tuple | list):
        return f"{kind} of {len(answer)}, from 0 to {len(answer) - 1}"
    if is_dataclass(answer):
        return f"{kind} of {', '.join(one.name for one in fields(answer))}"
    names = [name for name in getattr(answer, "__dict__", {}) if name[0] != "_"]
    return f"{kind} of {', '.join(names)}" if names else kind


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
        remedy = "only real numbers have derivatives: expected a tensor of them, such as embeddings in place of tokens"
        raise InputError("data", f"inputs that are {kind}", remedy)
    if found.ndim == 0 or len(found) != batch.rows:
        raise InputError("wrt", wrt, f"it has shape {tuple(found.shape)}; expected a row for each example")

    def put(tensor: Tensor) -> Batch:
        if None in parts:
            return replace(batch, inputs=tensor)
        changed = {**parts, wrt: tensor}
        return replace(batch, inputs=changed if isinstance(inputs, Mapping) else tuple(changed.values()))

    return found, put
