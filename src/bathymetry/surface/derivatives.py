"""Derivatives of one batch's loss by automatic differentiation, batched over members and vectors where possible.

H v = ∂(g·v)/∂θ differentiates the kept graph of the gradient once more (Pearlmutter 1994, Neural Computation 6(1)), and
J v = ∂(Jᵀu·v)/∂u, as Jᵀu is linear in u. (`torch.func.linearize` costs as much, fails on LSTMs and attention, and
crashes on `mse_loss` in PyTorch 2.13.)
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bathymetry.core.errors import InputError
from bathymetry.core.tensors import norms, power_of_two
from bathymetry.surface.batches import Batch, map_tensors, tensors_of
from bathymetry.surface.network import Network
from bathymetry.surface.selection import (
    Output,
    PerExample,
    Point,
    Points,
    Selection,
    Vectors,
    Wrt,
    chosen_output,
    derived_input,
)
from bathymetry.training.loss import Criterion

InputDerivative = Literal["loss", "logits", "probabilities"]
Product = Callable[[Vectors], Vectors]

_TOGETHER = 2**25  # bytes of activations above which vectors are faster one after another
_UNSUPPORTED = (RuntimeError, NotImplementedError, ValueError, TypeError)


class Derivatives:
    """The loss of one batch as a function of θ, for several θ at once, with its derivatives."""

    def __init__(self, network: Network, criterion: Criterion, selection: Selection) -> None:
        self.network, self.criterion, self.selection = network, criterion, selection
        self.before_products: Callable[[], None] | None = None  # a check, called once before the first product
        self._unbatched: set[str] = set()  # what a network showed that it can't batch
        self._symmetric = False  # whether a Hessian was checked for symmetry
        self._bytes: dict[tuple[Any, ...], int] = {}  # of an example, by the shapes of a batch's tensors

    @property
    def backend(self) -> str:
        return "double backward" if "vectors" not in self._unbatched else "double backward, one vector after another"

    def double(self) -> "Derivatives":
        criterion = Criterion(self.criterion.loss, torch.float64)
        criterion.mean_count = self.criterion.mean_count
        return Derivatives(self.network.double(), criterion, replace(self.selection, dtype=torch.float64))

    def output(self, theta: Point, batch: Batch) -> Any:
        """What the network returns for a batch."""
        return self.network.output(self.network.tensors(self.selection.split(theta)), batch.inputs)

    def raw(self, theta: Point, batch: Batch) -> Any:
        """What the loss returns for a batch: a number, or (sum, count)."""
        return self.network.raw_loss(self.network.tensors(self.selection.split(theta)), self.criterion, batch)

    def loss(self, theta: Points, batch: Batch) -> Float[Tensor, " member"]:
        with torch.no_grad():
            return self._each(partial(self.value, batch=batch), theta)

    def outputs(self, theta: Points, batch: Batch, output: Output = None) -> Float[Tensor, "member example *output"]:
        with torch.no_grad():
            return self._each(lambda point: chosen_output(self.output(point, batch), output), theta)

    def gradient(self, theta: Points, batch: Batch) -> Points:
        return self._differentiated(theta, batch)[1].detach()

    def product(self, theta: Points, batch: Batch) -> Product:
        if not self._symmetric:
            self._check_second_derivatives(theta, batch)
        point, gradient = self._differentiated(theta, batch, create_graph=True)

        def product(vectors: Tensor) -> Tensor:
            if not gradient.requires_grad:  # a loss that is linear in θ
                return torch.zeros_like(vectors)
            together = self._vectors_together(theta, batch, vectors.shape[1])
            return self._pulled(gradient, point, vectors.transpose(0, 1), together).transpose(0, 1)

        return product

    def hessian(self, theta: Points, batch: Batch) -> Float[Tensor, "member parameter parameter"] | None:
        """Compute each member's Hessian; None where nothing is faster than products with all unit vectors."""
        del theta, batch
        return None

    def gauss_newton(self, theta: Points, batch: Batch) -> Product:
        """Prepare products with Jᵀ (∂²ℓ/∂z²) J, where z are the network's outputs and J = ∂z/∂θ."""

        def outputs(point: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            answer = self.output(point, batch)
            flat = torch.cat([one.reshape(-1) for one in tensors_of(answer)])
            leaf = flat.detach().requires_grad_()
            pieces = iter(torch.split(leaf, [one.numel() for one in tensors_of(answer)]))
            again = map_tensors(answer, lambda one: next(pieces).view(one.shape))
            loss = self.criterion.value(self.criterion.raw(again, *batch.targets), batch.rows)
            (slope,) = torch.autograd.grad(loss, leaf, create_graph=True, materialize_grads=True)
            if not slope.requires_grad:
                remedy = "it is linear in the network's outputs, so the Gauss-Newton matrix is zero: expected another"
                raise InputError("loss", self.criterion.name, remedy)
            return flat, lambda moved: self._pulled(slope, leaf, moved, len(moved))

        if self.criterion.takes_model:
            raise InputError(
                "loss", self.criterion.name, "expected a loss of (output, *targets), whose outputs are known"
            )
        return self._sandwich(theta, batch, outputs)

    def fisher(self, theta: Points, batch: Batch) -> Product:
        """Prepare products with Σᵢ wᵢ gᵢgᵢᵀ / Σᵢ wᵢ, where gᵢ is example i's gradient; Σᵢ gᵢgᵢᵀ for a sum."""
        if self.network.couples_examples:
            raise self.network.coupling_error()
        weights = self.criterion.weights(batch.targets, batch.rows)
        weights = (weights / weights.sum() if self.criterion.is_mean else weights).to(theta)

        def losses(point: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
            values = self._by_example(lambda loss: loss, partial(self.value, point), point, batch)
            return values.masked_fill(weights == 0, 0.0), lambda moved: moved * weights

        return self._sandwich(theta, batch, losses)

    def example_norms(self, theta: Point, batch: Batch) -> PerExample:
        lengths = torch.cat([norms(part) for part in self._example_gradients(theta, batch)])
        return self._counted(lengths, batch)

    def example_slopes(self, theta: Point, batch: Batch, direction: Point) -> PerExample:
        scale = power_of_two(direction.abs().amax())  # the product of two small numbers may underflow
        slopes = torch.cat([part @ (direction / scale).to(part) for part in self._example_gradients(theta, batch)])
        return self._counted(slopes.double() * scale.double(), batch)

    def input_norms(self, theta: Point, batch: Batch, of: InputDerivative, output: Output, wrt: Wrt) -> PerExample:
        """Compute the Frobenius norm of a derivative with respect to each example's input."""
        inputs, put = derived_input(batch, wrt)
        inputs = inputs.detach().clone().requires_grad_()
        squares = torch.zeros(batch.rows, dtype=torch.float64, device=inputs.device)
        for column in self.input_columns(theta, put(inputs), of, output):
            if column.requires_grad:
                (slope,) = torch.autograd.grad(column, inputs, retain_graph=True, materialize_grads=True)
                squares += slope.flatten(1).double().square().sum(1)
        return self._counted(squares.sqrt(), batch) if of == "loss" else squares.sqrt()

    def bytes_per_example(self, theta: Points, batch: Batch) -> int:
        """Measure on two examples what one example of one member keeps in memory for a backward pass."""
        few = batch if self.network.couples_examples else next(batch.split(2))
        key = self.network.behaviour.writes, *(tuple(tensor.shape) for tensor in few.tensors())
        if key not in self._bytes:
            with self.network.measuring():
                self._bytes[key] = max(1, self._saved_bytes(theta[0], few) // few.rows)
        return self._bytes[key]

    def _saved_bytes(self, theta: Point, batch: Batch) -> int:
        tensors = self.network.tensors(self.selection.split(theta.detach().requires_grad_()))
        known = {tensor.untyped_storage().data_ptr() for tensor in (theta, *tensors.values())}
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            # without parameters, buffers, and sparse tensors, which have no bytes of their own
            if tensor.layout == torch.strided and tensor.untyped_storage().data_ptr() not in known:
                saved[tensor.data_ptr()] = tensor.nbytes
            return tensor

        try:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                self.network.raw_loss(tensors, self.criterion, batch)
        except RuntimeError:  # torch.func in the network, inside which nothing says what is saved
            made = _Made()
            with made:
                self.network.raw_loss(tensors, self.criterion, batch)
            return made.bytes
        return sum(saved.values())

    def value(self, theta: Point, batch: Batch) -> Float[Tensor, ""]:
        return self.criterion.value(self.raw(theta, batch), batch.rows)

    def _batched(self, what: str, compute: Callable[[], Tensor]) -> Tensor | None:
        """Compute members, vectors or examples in one batch; None if the network does not allow it."""
        if what in self._unbatched:
            return None
        try:
            return compute()
        except _UNSUPPORTED:
            self._unbatched.add(what)
            return None

    def _each(self, function: Callable[[Tensor], Tensor], theta: Points) -> Tensor:
        """Apply a function to every member, batched where the network allows it."""
        if len(theta) > 1:
            batched = self._batched("members", lambda: vmap(function)(theta))
            if batched is not None:
                return batched
        if len(theta) == 1:  # without the copy of θ that a stack makes in the backward pass
            return function(theta.squeeze(0)).unsqueeze(0)
        return torch.stack([function(row) for row in theta])

    def _differentiated(self, theta: Points, batch: Batch, *, create_graph: bool = False) -> tuple[Tensor, Tensor]:
        """Compute the gradient, and the point that it can be differentiated by once more."""
        # members are independent, so the gradient of the sum of their losses holds the gradient of each
        point = theta.detach().clone().requires_grad_()
        total = self._each(partial(self.value, batch=batch), point).sum()
        if not total.requires_grad:
            return point, torch.zeros_like(point)
        (gradient,) = torch.autograd.grad(total, point, create_graph=create_graph, materialize_grads=True)
        return point, gradient

    def _pulled(self, value: Tensor, by: Tensor, vectors: Tensor, together: int) -> Tensor:
        """Compute ∂(value·v)/∂by for vectors along the first axis, batched where the network allows it."""
        parts = []
        for some in torch.split(vectors, max(1, together)):
            batched = None
            if len(some) > 1:
                batched = self._batched("vectors", partial(_backward, value, by, some, is_grads_batched=True))
            if batched is None:
                each = [_backward(value, by, vector) for vector in some]
                batched = each[0].unsqueeze(0) if len(each) == 1 else torch.stack(each)
            parts.append(batched)
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _vectors_together(self, theta: Tensor, batch: Batch, count: int) -> int:
        if count == 1:
            return 1
        each = batch.rows * self.bytes_per_example(theta, batch) + theta[0].nbytes
        return max(1, _TOGETHER // (len(theta) * each))

    def _sandwich(
        self, theta: Points, batch: Batch, inner: Callable[[Tensor], tuple[Tensor, Callable[[Tensor], Tensor]]]
    ) -> Product:
        """Prepare products with JᵀSJ; `inner` gives at a point the vector z with J = ∂z/∂θ, and products with S."""

        def prepared(row: Tensor) -> Callable[[Tensor], Tensor]:
            point = row.detach().clone().requires_grad_()
            value, inner_product = inner(point)
            if not value.requires_grad:
                return torch.zeros_like
            weights = torch.zeros_like(value, requires_grad=True)
            pulled = _backward(value, point, weights, create_graph=True)
            _refuse_operations_without_a_second_derivative(pulled, self.network.kind)

            def product(vectors: Tensor) -> Tensor:
                together = self._vectors_together(theta, batch, len(vectors))
                moved = self._pulled(pulled, weights, vectors, together)
                return self._pulled(value, point, inner_product(moved.detach()), together)

            return product

        members = [prepared(row) for row in theta]
        return lambda vectors: torch.stack([one(own) for one, own in zip(members, vectors, strict=True)])

    def _by_example(
        self,
        transform: Callable[[Callable[..., Tensor]], Callable[..., Tensor]],
        alone: Callable[[Batch], Tensor],
        theta: Point,
        batch: Batch,
    ) -> Float[Tensor, "example *each"]:
        """Apply a transform of the loss to every example by itself: batched where possible, else by `alone`."""

        def loss(point: Tensor, inputs: Tensor, *targets: Tensor) -> Tensor:
            return self.value(point, Batch(inputs[None], tuple(target[None] for target in targets), 1))

        if all(isinstance(one, Tensor) for one in (batch.inputs, *batch.targets)):
            over_examples = vmap(transform(loss), in_dims=(None, 0, *(0 for _ in batch.targets)))
            batched = self._batched("examples", lambda: over_examples(theta, batch.inputs, *batch.targets))
            if batched is not None:
                return batched
        return torch.stack([alone(one) for one in batch.split(1)])

    def _example_gradients(self, theta: Point, batch: Batch) -> Iterator[Float[Tensor, "example parameter"]]:
        """Compute each example's own gradient, some examples at a time."""
        for piece in batch.split(max(1, _TOGETHER // (8 * theta.numel()))):
            alone = lambda one: self._differentiated(theta[None], one)[1][0]  # noqa: E731
            yield self._by_example(grad, alone, theta, piece).detach()

    def input_columns(self, theta: Point, batch: Batch, of: InputDerivative, output: Output) -> list[Tensor]:
        """Sum over examples what is differentiated by the inputs: as they are independent, it keeps each derivative."""
        point = theta.detach()
        if of == "loss":  # without the batch's weighting, which would make it another function in another batch
            weight = self.criterion.weight(batch.targets, batch.rows)
            return [self.value(point, batch) * weight / self.criterion.terms(batch.targets, batch.rows)]
        answer = chosen_output(self.output(point, batch), output)
        if of == "probabilities":
            self.criterion.check_softmax(answer)
            answer = answer.softmax(1)
        return list(answer.reshape(batch.rows, -1).sum(0))

    def _counted(self, values: PerExample, batch: Batch) -> PerExample:
        # alone, an example that the loss ignores has a loss of 0/0
        weights = self.criterion.weights(batch.targets, batch.rows).to(values.device)
        return values.masked_fill(weights == 0, 0.0)

    def _check_second_derivatives(self, theta: Points, batch: Batch) -> None:
        """Refuse second derivatives that are wrong: those of a wrong formula are hardly ever symmetric."""
        few = batch if self.network.couples_examples else next(batch.split(4))
        point, gradient = self._differentiated(theta[:1], few, create_graph=True)
        _refuse_operations_without_a_second_derivative(gradient, self.network.kind)
        if self.before_products is not None:
            self.before_products()
            self.before_products = None
        if gradient.requires_grad and bool(gradient.isfinite().all()):
            generator = torch.Generator().manual_seed(0)
            pair = [torch.randn(point.shape, generator=generator, dtype=point.dtype).to(point) for _ in range(2)]
            products = [_backward(gradient, point, vector) for vector in pair]
            difference = (pair[0] * products[1]).sum() - (pair[1] * products[0]).sum()
            size = sum(norms(vector) * norms(product) for vector, product in zip(pair, products, strict=True))
            if bool((difference.abs() > size * self.network.precision**0.5).any()):
                remedy = "one of its operations has a wrong second derivative: the Hessian is not symmetric"
                raise InputError("model", self.network.kind, remedy)
        self._symmetric = True


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all that operations return, the most that a graph may keep."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.bytes += sum(one.numel() * one.element_size() for one in tree_leaves(made) if isinstance(one, Tensor))
        return made


def _refuse_operations_without_a_second_derivative(gradient: Tensor, kind: str) -> None:
    # behind such an operation PyTorch puts a node that fails when it is reached, and never reaches it, so that a
    # missing derivative would come out as zero
    if any(node.name().endswith("Error") for node in graph_nodes(gradient)):
        remedy = "one of its operations has no second derivative (once_differentiable), and so has no Hessian"
        raise InputError("model", kind, remedy)


def graph_nodes(value: Tensor) -> Iterator[Any]:
    """Each node of the graph that autograd recorded for a value."""
    seen: set[Any] = set()
    waiting = [value.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [following for following, _ in node.next_functions]


def _backward(value: Tensor, by: Tensor, vectors: Tensor, **options: bool) -> Tensor:
    """Compute ∂(value·v)/∂by, and keep the graph."""
    (product,) = torch.autograd.grad(value, by, vectors, retain_graph=True, materialize_grads=True, **options)
    return product
