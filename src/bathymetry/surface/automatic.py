"""The general way: automatic differentiation, batched over members and vectors where the network allows it.

The graph of the gradient is kept and differentiated backward once more for each product with a vector,
H v = ∂(g·v)/∂θ, which every layer allows that can be differentiated twice, LSTMs and attention among them: Pearlmutter
1994, Neural Computation 6(1). (`torch.func.linearize` costs as much, fails on those layers, and crashes on `mse_loss`
in PyTorch 2.13.)
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.func import grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from bathymetry.core.errors import InputError
from bathymetry.core.networks import norms, power_of_two
from bathymetry.surface.batches import Batch
from bathymetry.surface.derivative_checks import check_input_derivative
from bathymetry.surface.derivatives import Product
from bathymetry.surface.network import Network
from bathymetry.surface.outputs import Output, Wrt, chosen_output, derived_input
from bathymetry.surface.parameters import Selection
from bathymetry.training.loss import Criterion

InputDerivative = Literal["loss", "logits", "probabilities"]

_TOGETHER = 2**25  # bytes of activations above which vectors go faster one after another
_UNSUPPORTED = (RuntimeError, NotImplementedError, ValueError, TypeError)


class AutomaticDerivatives:
    """Derivatives of any network by `torch.func` and `torch.autograd`.

    Args:
        network: The network.
        criterion: The loss.
        selection: The parameters.
    """

    def __init__(self, network: Network, criterion: Criterion, selection: Selection) -> None:
        self._network, self._criterion, self._selection = network, criterion, selection
        self._members_batched = self._vectors_batched = self._examples_batched = (
            True  # until a network shows that they can't be
        )
        self._trusted = False  # until a Hessian was seen to be symmetric
        self._bytes: dict[tuple[tuple[int, ...], ...], int] = {}  # an example's, by the shapes of a batch's tensors
        self.before_products: Callable[[], None] | None = None  # a check, called once before the first product

    @property
    def path(self) -> str:
        """Which way runs, in words."""
        return "double backward" if self._vectors_batched else "double backward, one vector after another"

    def loss(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, " member"]:
        """Give each member's loss on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Losses.
        """
        with torch.no_grad():
            return self._each(self._one(batch), theta)

    def outputs(
        self, theta: Float[Tensor, "member parameter"], batch: Batch, output: Output = None
    ) -> Float[Tensor, "member example *output"]:
        """Give each member's outputs on a batch.

        Args:
            theta: Parameters.
            batch: The batch.
            output: Which, of several.

        Returns:
            Outputs.
        """

        def one_output(row: Tensor) -> Tensor:
            constants = self._network.constants(self._selection.shapes)  # anew for each member: a pass may write
            answer = self._network.output(self._selection.split(row), constants, batch.inputs)
            return chosen_output(answer, output)

        with torch.no_grad():
            return self._each(one_output, theta)

    def gradient(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, "member parameter"]:
        """Give each member's gradient on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Gradients.
        """
        return self._differentiated(theta, batch)[1].detach()

    def product(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Product:
        """Prepare products with each member's Hessian on a batch.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            A function of (member, vector, parameter) that may be called again and again.
        """
        self._check_symmetry(theta, batch)
        each = batch.rows * self.bytes_an_example(theta, batch) + theta[0].nbytes
        together = max(1, _TOGETHER // (len(theta) * each))
        point, gradient = self._differentiated(theta, batch, create_graph=True)

        def some_products(vectors: Tensor) -> Tensor:  # (vector, member, parameter)
            if len(vectors) > 1 and self._vectors_batched:
                try:
                    return _again(point, gradient, vectors, is_grads_batched=True)
                except _UNSUPPORTED:
                    self._vectors_batched = False
            each = [_again(point, gradient, vector) for vector in vectors]
            return each[0].unsqueeze(0) if len(each) == 1 else torch.stack(each)

        def product(vectors: Tensor) -> Tensor:
            if not gradient.requires_grad:  # a loss that is linear in θ
                return torch.zeros_like(vectors)
            parts = [some_products(part) for part in torch.split(vectors.transpose(0, 1), together)]
            return (parts[0] if len(parts) == 1 else torch.cat(parts)).transpose(0, 1)

        return product

    def hessian(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> None:
        """Have no formula for a whole Hessian.

        Args:
            theta: Parameters.
            batch: The batch.
        """

    def example_norms(self, theta: Float[Tensor, " parameter"], batch: Batch) -> Float[Tensor, " example"]:
        """Give the norm of each example's own gradient.

        Args:
            theta: Parameters.
            batch: The batch.

        Returns:
            Norms.
        """
        lengths = torch.cat([norms(part) for part in self._example_gradients(theta, batch)])
        return self._counted(lengths, batch)

    def example_slopes(
        self, theta: Float[Tensor, " parameter"], batch: Batch, direction: Float[Tensor, " parameter"]
    ) -> Float[Tensor, " example"]:
        """Give the product of each example's own gradient with a direction.

        Args:
            theta: Parameters.
            batch: The batch.
            direction: In parameter space.

        Returns:
            Slopes.
        """
        scale = power_of_two(direction.abs().amax())  # the product of two small numbers may be none
        slopes = torch.cat([part @ (direction / scale).to(part) for part in self._example_gradients(theta, batch)])
        slopes = slopes.double() * scale.double()
        return self._counted(slopes, batch)

    def input_norms(
        self,
        theta: Float[Tensor, " parameter"],
        batch: Batch,
        of: InputDerivative,
        output: Output = None,
        wrt: Wrt = None,
    ) -> Float[Tensor, " example"]:
        """Give the Frobenius norm of a derivative with respect to each example's input.

        Args:
            theta: Parameters.
            batch: The batch.
            of: What is derived.
            output: Which of several outputs.
            wrt: Which of several inputs.

        Returns:
            Norms.
        """
        inputs, put = derived_input(batch, wrt)
        inputs = inputs.detach().clone().requires_grad_()
        squares = torch.zeros(batch.rows, dtype=torch.float64, device=inputs.device)
        for column in self._derived(theta, put(inputs), of, output):
            if column.requires_grad:
                (slope,) = torch.autograd.grad(column, inputs, retain_graph=True, materialize_grads=True)
                squares += slope.flatten(1).double().square().sum(1)
        return self._counted(squares.sqrt(), batch) if of == "loss" else squares.sqrt()

    def check_input_derivative(
        self, theta: Float[Tensor, " parameter"], batch: Batch, of: InputDerivative, output: Output, wrt: Wrt
    ) -> None:
        """Insist that the derivative by the input is that of what the network answers.

        Args:
            theta: Parameters.
            batch: Some examples.
            of: What is derived.
            output: Which of several outputs.
            wrt: Which of several inputs.
        """
        inputs, put = derived_input(batch.map(self._network.cast), wrt)

        def function(tensor: Tensor) -> Tensor:
            columns = torch.stack(self._derived(theta, put(tensor), of, output))
            chance = torch.Generator().manual_seed(1)
            return columns @ torch.randn(len(columns), generator=chance, dtype=torch.float64).to(columns)

        with self._network.measuring():
            check_input_derivative(function, inputs, self._network.kind)

    def try_out(self, theta: Float[Tensor, " parameter"], batch: Batch) -> None:
        """Ask for the loss, to see whether the network runs in the dtype that is computed in.

        Args:
            theta: Parameters.
            batch: Some examples.
        """
        with self._network.measuring():
            self.loss(theta[None].to(self._selection.dtype), batch.map(self._network.cast))

    def double(self) -> "AutomaticDerivatives":
        """Differentiate the same network and loss in float64.

        Returns:
            Derivatives of their own.
        """
        network, criterion = self._network.double(), Criterion(self._criterion.loss, torch.float64)
        criterion.mean_count = self._criterion.mean_count
        return AutomaticDerivatives(network, criterion, replace(self._selection, dtype=torch.float64))

    def _derived(self, theta: Tensor, batch: Batch, of: InputDerivative, output: Output) -> list[Tensor]:
        """Give what is derived, summed over examples: they do not meet, so the sum holds the derivative of each."""
        parameters, constants = self._selection.split(theta.detach()), self._network.constants(self._selection.shapes)
        if of == "loss":  # not as the batch weighs it, which would make it another function in another batch
            weight = self._criterion.weight(batch.targets, batch.rows)
            terms = self._criterion.terms(batch.targets, batch.rows)
            raw = self._network.raw_loss(parameters, constants, self._criterion, batch)
            return [self._criterion.value(raw, batch.rows) * weight / terms]
        answer = chosen_output(self._network.output(parameters, constants, batch.inputs), output)
        if of == "probabilities":
            self._criterion.check_softmax(answer)
            answer = answer.softmax(1)
        return list(answer.reshape(batch.rows, -1).sum(0))

    def _counted(self, values: Float[Tensor, " example"], batch: Batch) -> Float[Tensor, " example"]:
        # alone, an example that the loss ignores has a loss of 0/0
        weights = self._criterion.weights(batch.targets, batch.rows).to(values.device)
        return values.masked_fill(weights == 0, 0.0)

    def bytes_an_example(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> int:
        """Measure what one example leaves in memory for a backward pass.

        Args:
            theta: Parameters; the first member's are used.
            batch: A batch, of which up to two examples are run.

        Returns:
            Bytes.
        """
        few = batch if self._network.couples_examples else next(batch.split(2))
        shapes = tuple(tuple(tensor.shape) for tensor in few.tensors())
        if shapes not in self._bytes:
            self._bytes[shapes] = max(1, self._saved_bytes(theta[0], few) // few.rows)
        return self._bytes[shapes]

    def _saved_bytes(self, theta: Float[Tensor, " parameter"], batch: Batch) -> int:
        """Measure what a batch leaves for a backward pass beside the parameters, which are there once for all."""
        every = self._network.constants({})
        point = self._selection.split(theta.detach().requires_grad_())
        own = {name: part.to(every[name].dtype) for name, part in point.items()}
        constants = {name: tensor for name, tensor in every.items() if name not in own}
        there = {_storage(tensor) for tensor in (theta, *own.values(), *constants.values())}
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            # a sparse one has no bytes of its own to ask for
            if tensor.layout == torch.strided and _storage(tensor) not in there:
                saved[tensor.data_ptr()] = tensor.nbytes
            return tensor

        def run() -> None:
            self._network.raw_loss(own, constants, self._criterion, batch)

        try:
            with saved_tensors_hooks(keep, lambda tensor: tensor):
                run()
        except RuntimeError:  # torch.func in the network, inside which nothing says what is saved
            made = _Made()
            with made:
                run()
            return made.bytes
        return sum(saved.values())

    def _example_gradients(self, theta: Tensor, batch: Batch) -> Iterator[Float[Tensor, "example parameter"]]:
        """Give each example's own gradient, some examples at a time, batched where the network allows it."""

        def loss(point: Tensor, inputs: Tensor, *targets: Tensor) -> Tensor:
            constants = self._network.constants(self._selection.shapes)
            alone = tuple(target[None] for target in targets)
            parameters = self._selection.split(point)
            raw = self._network.raw_loss(parameters, constants, self._criterion, Batch(inputs[None], alone, 1))
            return self._criterion.value(raw, 1)

        plain = isinstance(batch.inputs, Tensor) and all(isinstance(one, Tensor) for one in batch.targets)
        together = max(1, _TOGETHER // (8 * theta.numel()))
        for piece in batch.split(together):
            if plain and self._examples_batched:
                axes = (None, 0, *(0 for _ in piece.targets))
                try:
                    yield vmap(grad(loss), in_dims=axes)(theta, piece.inputs, *piece.targets).detach()
                    continue
                except _UNSUPPORTED:
                    self._examples_batched = False
            yield torch.cat([self._differentiated(theta[None], one)[1].detach() for one in piece.split(1)])

    def _one(self, batch: Batch) -> Callable[[Tensor], Tensor]:
        def loss(theta: Tensor) -> Tensor:
            constants = self._network.constants(self._selection.shapes)  # anew for each member: a pass may write
            raw = self._network.raw_loss(self._selection.split(theta), constants, self._criterion, batch)
            return self._criterion.value(raw, batch.rows)

        return loss

    def _each(self, function: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
        if len(theta) > 1 and self._members_batched:
            try:
                batched: Tensor = vmap(function)(theta)
            except _UNSUPPORTED:
                self._members_batched = False
            else:
                return batched
        if len(theta) == 1:  # without the copy of θ that a stack makes in the backward pass
            return function(theta.squeeze(0)).unsqueeze(0)
        return torch.stack([function(row) for row in theta])

    def _check_symmetry(self, theta: Tensor, batch: Batch) -> None:
        """Refuse second derivatives that are wrong: those of a wrong formula are, as a rule, not symmetric."""
        if self._trusted:
            return
        few = batch if self._network.couples_examples else next(batch.split(4))
        point, gradient = self._differentiated(theta[:1], few, create_graph=True)
        _refuse_operations_without_a_second_derivative(gradient, self._network.kind)
        if self.before_products is not None:
            self.before_products()
            self.before_products = None
        if gradient.requires_grad and bool(gradient.isfinite().all()):
            chance = torch.Generator().manual_seed(0)
            pair = [torch.randn(point.shape, generator=chance, dtype=point.dtype).to(point) for _ in range(2)]
            products = [_again(point, gradient, vector) for vector in pair]
            difference = (pair[0] * products[1]).sum() - (pair[1] * products[0]).sum()
            size = sum(norms(vector) * norms(product) for vector, product in zip(pair, products, strict=True))
            if bool((difference.abs() > size * self._network.precision**0.5).any()):
                remedy = "one of its operations has a wrong second derivative: the Hessian is not symmetric"
                raise InputError("model", f"{self._network.kind}", remedy)
        self._trusted = True

    def _differentiated(self, theta: Tensor, batch: Batch, *, create_graph: bool = False) -> tuple[Tensor, Tensor]:
        # members do not meet, so the gradient of the sum of their losses holds the gradient of each
        point = theta.detach().clone().requires_grad_()
        total = self._each(self._one(batch), point).sum()
        if not total.requires_grad:
            return point, torch.zeros_like(point)
        (gradient,) = torch.autograd.grad(total, point, create_graph=create_graph, materialize_grads=True)
        return point, gradient


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all that operations give, the most that a graph may keep."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        parts = given if isinstance(given, tuple | list) else (given,)
        self.bytes += sum(one.numel() * one.element_size() for one in parts if isinstance(one, Tensor))
        return given


def _refuse_operations_without_a_second_derivative(gradient: Tensor, kind: str) -> None:
    # behind such an operation PyTorch puts a node that fails when it is reached, and never reaches it, so that a
    # derivative that it does not have would come out as zero
    seen, open_ = set(), [gradient.grad_fn]
    while open_:
        node = open_.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name().endswith("Error"):
            remedy = "one of its operations has no second derivative (once_differentiable), and so has no Hessian"
            raise InputError("model", kind, remedy)
        open_ += [following for following, _ in node.next_functions]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _again(point: Tensor, gradient: Tensor, vectors: Tensor, *, is_grads_batched: bool = False) -> Tensor:
    (product,) = torch.autograd.grad(
        gradient, point, vectors, retain_graph=True, materialize_grads=True, is_grads_batched=is_grads_batched
    )
    return product
