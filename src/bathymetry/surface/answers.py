"""Which answers are right: the largest output is that of the class that was asked for."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.training.loss import is_correct


def right_answers(
    outputs: Float[Tensor, "member example *output"],
    classes: Int[Tensor, "example *position"],
    *,
    by_class: bool,
) -> Bool[Tensor, "member example *position"]:
    """Compare answers with classes.

    Args:
        outputs: What the members answered, one output a class: (member, example, class), and for several labels an
            example (member, example, class, *position) or (member, example, *position, class).
        classes: The right ones.
        by_class: Whether the loss has its classes after the example, as PyTorch's have; elsewhere the shapes decide.

    Returns:
        Where the largest output is that of the class; an output that is not a number is no answer.

    Raises:
        InputError: If the outputs have no such shape, or could be read both ways.
    """
    shape, wanted = tuple(outputs.shape[1:]), tuple(classes.shape)
    after, last = (shape[:1] + shape[2:] == wanted, shape[:-1] == wanted)
    if len(shape) < 2 or not (after or last) or (after and last and len(shape) > 2 and not by_class):
        remedy = "an accuracy needs one output a class, for each label: (example, class, *position)"
        raise InputError("data", f"classes of shape {wanted} for outputs of shape {shape}", remedy)
    axis = 2 if after else outputs.ndim - 1
    # a label without an output is one that the loss ignores, such as −100 or 255: no answer to it is right
    known = classes.clamp(0, outputs.shape[axis] - 1)
    return is_correct(outputs.movedim(axis, 2), known.expand(len(outputs), *wanted)) & (classes == known)
