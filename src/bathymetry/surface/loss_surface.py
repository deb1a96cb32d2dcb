"""The loss surface of a network: θ ↦ loss, for one network, one loss function and one set of data."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, get_args

import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from bathymetry.core.errors import InputError, check_dense, positive_number
from bathymetry.core.tensors import unwrapped
from bathymetry.surface.batches import Batch, Batches
from bathymetry.surface.checks import HiddenRandomness, check_surface
from bathymetry.surface.derivative_checks import FEW, check_input_norms
from bathymetry.surface.derivatives import Derivatives, InputDerivative
from bathymetry.surface.fixed_tensors import FixedTensorsOnLine, differing_tensors
from bathymetry.surface.matrices import HessianProduct, added, as_rows, in_blocks
from bathymetry.surface.mlp_derivatives import MLPDerivatives, with_formulas
from bathymetry.surface.network import Mode, Network
from bathymetry.surface.parts import GRAPHS, Parts
from bathymetry.surface.selection import Output, PerExample, Point, Points, Wrt, are_correct, select
from bathymetry.training.loss import Criterion, Loss, is_correct

_MAX_BYTES = 2**31


class LossSurface:
    """The loss as a function of a network's parameters, with its derivatives.

    Everywhere, θ is None for the network's own parameters as they are at that moment, (P,) for one point, or (M, P) for
    the points of an ensemble; results gain its leading member axis. Sums over batches are in float64 and weighted by
    what each batch's mean was divided by. The network is left as it was found. `surface @ v` is the product of the
    Hessian at the network's own parameters with a vector (P,) or with the columns of (P, K).

    Args:
        model: Any network. Layers stay in the mode they are in; random ones are refused.
        loss: A loss module with reduction mean or sum; a function of (output, *targets) that returns the mean over its
            batch or (sum, count); a function of (model, batch) that returns the same; or "mse" or "cross_entropy".
        data: (inputs, targets) as tensors; an iterable of such batches, of any sizes; a DataLoader, which is read in
            the order of its data set if it shuffles; or what `bm.load` returns, whose training set is meant (its
            `.test` is the other). A loss of the outputs alone takes batches (inputs,); a batch may be a mapping, whose
            entries the network takes by name.
        mode: "as_is" for layers in the modes they are in; "no_dropout" for evaluation mode in all but normalisations,
            which stay in theirs: in a network that trains, random layers are off and BatchNorm uses its batch.
        params: Parameters or layers to measure, by name; the others stay fixed. None for all that are trainable.
        dtype: What to measure in, for example `torch.float64`; None for the network's own.
        max_bytes: About how many bytes to use at once, from construction on: data are cut to fit.

    Raises:
        InputError: If the data, the loss or the network can't make a surface; the sentence says why.

    Example:
        One weight w at 2, one input 3, target 0: L = (3w)², so L = 36, ∂L = 18w = 36, ∂²L = 18.

        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 2.0)
        >>> surface = LossSurface(model, "mse", (torch.tensor([[3.0]]), torch.tensor([[0.0]])))
        >>> surface.loss().item(), surface.gradient().tolist(), surface.hessian().tolist()
        (36.0, [36.0], [[18.0]])
        >>> surface @ torch.tensor([2.0])
        tensor([36.])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Any,
        *,
        params: Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
        max_bytes: int = _MAX_BYTES,
        mode: Mode = "as_is",
    ) -> None:
        if not any(dtype is one for one in (None, torch.float32, torch.float64)):
            raise InputError("dtype", dtype, "expected torch.float32, torch.float64 or None")
        positive_number("max_bytes", max_bytes)
        if not isinstance(mode, str) or mode not in get_args(Mode):
            raise InputError("mode", mode, f"expected one of {', '.join(get_args(Mode))}")
        model = unwrapped(model)
        self._network = Network(model, dtype, mode)
        self._model = model
        self._options: dict[str, Any] = {"max_bytes": max_bytes, "mode": mode}
        self.selection = select(model, params, dtype)
        self.params = None if params is None else list(self.selection.shapes)
        self.dimension, self.dtype = sum(map(prod, self.selection.shapes.values())), self.selection.dtype
        self.criterion = Criterion(loss, dtype)
        self._batches = data if isinstance(data, Batches) else Batches(data)
        self.num_examples = self._batches.num_examples
        self._derivatives = with_formulas(Derivatives(self._network, self.criterion, self.selection), self._batches)
        self._parts = Parts(self._batches, self._derivatives, int(max_bytes))
        if isinstance(self.criterion.loss, _Loss) and self._batches.first.target is None:
            remedy = (
                "it compares outputs with targets: expected (inputs, targets); for other batches a function of the "
                'network and the batch, as in lambda model, batch: loss(model(batch["x"]), batch["y"])'
            )
            raise InputError("loss", self.criterion.name, remedy)
        self.criterion.to(self.device)
        self._derivatives.before_products = check_surface(self._derivatives, self.parameters, self._parts)
        if self._batches.is_shuffled and self._network.couples_examples:
            remedy = "which examples share a batch changes the loss of this network: expected shuffle=False"
            raise InputError("data", "a DataLoader with shuffle=True", remedy)
        _ = self._parts.total_weight  # refused if it is 0

    def __repr__(self) -> str:
        what = f"{self._network.kind}, {self.dimension:,} parameters, {self.criterion.name}"
        batches = f"{self._batches.count:,} batches" if self._batches.count > 1 else "1 batch"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"LossSurface({what} over {self.num_examples:,} examples in {batches}, {dtype}; {self.backend})"

    @property
    def shape(self) -> tuple[int, int]:
        """(P, P), the shape of the Hessian."""
        return self.dimension, self.dimension

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._parts.device

    @property
    def backend(self) -> str:
        """How derivatives are computed, in words."""
        return self._derivatives.backend

    @property
    def has_classes(self) -> bool:
        """Whether the targets are classes: one an example, or several under a loss of classes."""
        target = self._batches.first.target
        if not isinstance(target, Tensor) or target.dtype != torch.int64:
            return False
        return target.ndim == 1 or (target.ndim > 1 and self.criterion.by_class)

    @property
    def parameters(self) -> Float[Tensor, " parameter"]:
        """A copy of the network's own θ as it is now."""
        return self.selection.join(dict(self._model.named_parameters()))

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Give the network's own parameters of which θ is made.

        Returns:
            Parameters by name, in the order of θ.
        """
        own = dict(self._model.named_parameters())
        return {name: own[name] for name in self.selection.shapes}

    def flatten(self, network: nn.Module) -> Float[Tensor, " parameter"]:
        """Bring another network of this architecture, such as another member, to a point θ."""
        theta, others = self.place(network, "network")
        if others:
            what = f"a network whose {next(iter(others))} is not this surface's"
            remedy = "expected bm.LossSurface(network, loss, data), or both networks as ends of bm.probes.interpolate"
            raise InputError("network", what, f"θ does not hold it: {remedy}")
        return theta

    def place(self, network: nn.Module, field: str) -> tuple[Float[Tensor, " parameter"], dict[str, Tensor]]:
        """Bring another network to its θ and, by name, its other tensors if they differ and change the loss."""
        network = unwrapped(network, field)
        theta = self.selection.of(network).to(self.device)
        return theta, differing_tensors(self._parts, network, theta, field, with_parameters=self.params is None)

    def on_line(
        self, a: Mapping[str, Tensor], b: Mapping[str, Tensor], statistics: str, data: Any
    ) -> FixedTensorsOnLine:
        """Find the fixed tensors between two networks from those by which they differ from the surface's."""
        return FixedTensorsOnLine(self._parts, a, b, statistics, data)

    def points(
        self, theta: Float[Tensor, "*member parameter"] | None, field: str = "theta"
    ) -> tuple[Float[Tensor, "member parameter"], bool]:
        """Check θ and bring it to (member, parameter); also return whether it came without the member axis."""
        own = dict(self._model.named_parameters())
        if theta is None:
            return self.selection.join(own)[None], True
        try:
            theta = torch.as_tensor(theta)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(field, type(theta).__name__, "expected a tensor of real numbers") from error
        if theta.dtype == torch.bool:
            raise InputError(field, theta.dtype, "expected real numbers")
        check_dense(field, theta)
        if theta.ndim not in (1, 2) or theta.shape[-1] != self.dimension or theta.numel() == 0:
            shape = f"({self.dimension},) or (member, {self.dimension})"
            raise InputError(field, f"shape {tuple(theta.shape)}", f"expected shape {shape}")
        points = theta.detach().to(own[next(iter(self.selection.shapes))].device, self.dtype)
        return (points[None], True) if theta.ndim == 1 else (points, False)

    def loss(self, theta: Float[Tensor, "*member parameter"] | None = None) -> Float[Tensor, "*member"]:
        """Compute the loss over all data, one for each member, in float64; NaN where it is."""
        points, single = self.points(theta)
        total = torch.zeros(len(points), dtype=torch.float64, device=points.device)
        with self._network.measuring():
            for share, batch in self._parts.weighted(points, 1):
                if share > 0:
                    total += share * self._derivatives.loss(points, batch).detach().double()
        return total[0] if single else total

    def accuracy(
        self, theta: Float[Tensor, "*member parameter"] | None = None, *, output: Output = None
    ) -> Float[Tensor, "*member"]:
        """Compute the share of labels whose class has the largest output, without those that the loss ignores.

        Args:
            theta: One point, one for each member, or None for the network's own parameters.
            output: Which of several outputs: a name, a position, or a function of the network's output.

        Returns:
            The accuracy, float64; an output that is not a finite number is never correct.

        Raises:
            InputError: If the targets are not classes.
        """
        points, single = self.points(theta)
        correct = torch.zeros(len(points), dtype=torch.float64, device=points.device)
        labels = 0
        with self._network.measuring():
            for _, batch in self._parts.weighted(points, 1):
                target = batch.target
                if not isinstance(target, Tensor) or target.is_floating_point() or target.ndim == 0:
                    raise InputError("data", "targets that are no classes", "expected class numbers")
                outputs = self._derivatives.outputs(points, batch, output)
                counted = self.criterion.counted(target)
                right = are_correct(outputs, target, by_class=self.criterion.by_class) & counted
                correct += right.flatten(1).sum(1)
                labels += int(counted.sum())
        share = correct / labels
        return share[0] if single else share

    def gradient(self, theta: Float[Tensor, "*member parameter"] | None = None) -> Float[Tensor, "*member parameter"]:
        """Compute the gradient ∂L/∂θ of the loss over all data, of the shape of θ."""
        points, single = self.points(theta)
        total: Tensor | None = None
        with self._network.measuring():
            for share, batch in self._parts.weighted(points, 2):
                if share > 0:  # a part that weighs nothing may well have a loss of 0/0
                    total = added(total, share, self._derivatives.gradient(points, batch).detach())
        assert total is not None  # the data weigh more than 0
        total = total.to(self.dtype)
        return total[0] if single else total

    def product(self, theta: Float[Tensor, "*member parameter"] | None = None) -> HessianProduct:
        """Prepare products with the Hessian: an operator to call with vectors as often as needed."""
        return HessianProduct(self, theta)

    def hvp(
        self, v: Float[Tensor, "*vector parameter"], theta: Float[Tensor, "*member parameter"] | None = None
    ) -> Float[Tensor, "*vector parameter"]:
        """Multiply vectors by the Hessian. For many calls at one θ, `product` saves the preparation.

        Args:
            v: (P,) or (K, P); for an ensemble (M, P), one vector for each member, or (M, K, P).
            theta: One point, one for each member, or None for the network's own parameters.

        Returns:
            Hv, of the shape of v.
        """
        points, single = self.points(theta)
        rows = as_rows(v, points, single=single)
        total: Tensor | None = None
        with self._network.measuring():
            for share, batch, together in self._parts.for_products(points)[1]:
                product = self._derivatives.product(points, batch)
                total = added(total, share, in_blocks(product, rows, together))
        assert total is not None  # the data weigh more than 0
        return total.to(self.dtype).reshape(v.shape)

    def __matmul__(self, v: Tensor) -> Tensor:
        """Multiply a vector (P,), or the columns of (P, K), by the Hessian at the network's own parameters."""
        return HessianProduct(self) @ v

    def hessian(
        self, theta: Float[Tensor, "*member parameter"] | None = None
    ) -> Float[Tensor, "*member parameter parameter"]:
        """Compute the Hessian ∂²L/∂θ², (P, P) or (M, P, P), symmetric to the last bit."""
        points, single = self.points(theta)
        size = 2 * len(points) * self.dimension**2 * 8
        if size > 4 * self._parts.max_bytes:
            remedy = "use products, or probes that need nothing else, or a surface with more max_bytes"
            raise InputError("max_bytes", f"{self._parts.max_bytes} bytes for Hessians that need {size}", remedy)
        total = self._hessian_by_formula(points)
        if total is None:
            identity = torch.eye(self.dimension, dtype=self.dtype, device=self.device)
            total = self.hvp(identity.expand(len(points), -1, -1), points).double()
        total = ((total + total.transpose(1, 2)) / 2).to(self.dtype)
        return total[0] if single else total

    def linear_operator(self, theta: Float[Tensor, " parameter"] | None = None) -> LinearOperator:
        """Make a SciPy operator of the Hessian at one θ, for its solvers."""
        return HessianProduct(self, theta).linear_operator()

    def example_gradient_norms(self, theta: Float[Tensor, " parameter"] | None = None) -> Float[Tensor, " example"]:
        """Compute ‖∂ℓᵢ/∂θ‖₂ at one θ for each example by itself, in order, float64; 0 for ignored examples."""
        return self._by_example(self._derivatives.example_norms, theta)

    def example_slopes(
        self, direction: Float[Tensor, " parameter"], theta: Float[Tensor, " parameter"] | None = None
    ) -> Float[Tensor, " example"]:
        """Compute ∂ℓᵢ/∂θ·v at one θ for each example by itself, in order, float64; 0 for ignored examples."""

        def slopes(point: Tensor, batch: Batch) -> Tensor:
            return self._derivatives.example_slopes(point, batch, direction.to(point))

        return self._by_example(slopes, theta)

    def example_weights(self) -> Float[Tensor, " example"]:
        """Compute what the mean of each example alone would be divided by, in order, float64; 1 under a sum."""
        return self._by_example(lambda point, batch: self.criterion.weights(batch.targets, batch.rows).to(point.device))

    def input_derivative_norms(
        self,
        of: InputDerivative = "loss",
        theta: Float[Tensor, " parameter"] | None = None,
        *,
        output: Output = None,
        wrt: Wrt = None,
    ) -> Float[Tensor, " example"]:
        """Compute the Frobenius norm of a derivative with respect to each example's own input.

        Args:
            of: What is differentiated: the example's "loss", the network's outputs ("logits"), or their softmax
                ("probabilities").
            theta: One point, or None for the network's own parameters.
            output: Which of several outputs: a name, a position, or a function of the network's output.
            wrt: Which of several inputs: a name or a position.

        Returns:
            A norm for each example, float64, in the order of the data.
        """
        is_checked = False

        def norms(point: Tensor, batch: Batch) -> Tensor:
            nonlocal is_checked
            measured = self._derivatives.input_norms(point, batch, of, output, wrt)
            if not is_checked:
                is_checked = True
                check_input_norms(self._derivatives, point, next(batch.split(FEW)), of, output, wrt)
            return measured

        return self._by_example(norms, theta)

    def along(
        self, starts: Points, ends: Points, alphas: Float[Tensor, " point"]
    ) -> tuple[Float[Tensor, "member point"], Float[Tensor, "member point"] | None] | None:
        """Compute losses and accuracies (if there are classes) on lines; None if no way beats point by point."""
        if not isinstance(self._derivatives, MLPDerivatives):
            return None
        losses = torch.zeros(len(starts), len(alphas), dtype=torch.float64, device=starts.device)
        correct = losses.clone() if self.has_classes else None
        with self._network.measuring():
            for share, batch in self._parts.weighted(starts, 1):
                for member, piece, loss, outputs in self._derivatives.along(starts, ends, alphas.tolist(), batch):
                    losses[member] += share * piece.rows / batch.rows * loss.double()
                    if correct is not None:
                        correct[member] += is_correct(outputs, piece.targets[0].expand(len(alphas), -1)).sum(1)
        return losses.cpu(), None if correct is None else (correct / self.num_examples).cpu()

    def double(self) -> "LossSurface":
        """Measure the same surface in float64: this one if it is in float64 already, else another."""
        return self if self.dtype == torch.float64 else self._in(torch.float64)

    def at_least_float32(self, stacklevel: int = 2) -> "LossSurface":
        """Measure the same surface in float32 if the network computes in less, where small steps vanish; warn of it."""
        if self._network.precision <= torch.finfo(torch.float32).eps:
            return self
        message = f"{self._network.kind} computes in less than float32, in which small differences vanish"
        warnings.warn(f"{message}: measured as by LossSurface(..., dtype=torch.float32)", stacklevel=stacklevel)
        return self._in(torch.float32)

    def _in(self, dtype: torch.dtype) -> "LossSurface":
        same, names = (self._model, self.criterion.loss, self._batches), list(self.selection.shapes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HiddenRandomness)  # warned of when this surface was made
            surface = LossSurface(*same, params=names, dtype=dtype, **self._options)
        surface.params = self.params
        return surface

    def _by_example(self, measure: Callable[[Point, Batch], PerExample], theta: Point | None = None) -> PerExample:
        """Measure each example by itself, some at a time, in float64 and in the order of the data."""
        if self._network.couples_examples:
            raise self._network.coupling_error()
        points, single = self.points(theta)
        if not single:
            raise InputError("theta", f"{len(points)} members", "expected one point, (parameter,)")
        with self._network.measuring():
            parts = [measure(points[0], batch) for _, batch in self._parts.weighted(points, GRAPHS)]
        return torch.cat(parts).detach().double()

    def _hessian_by_formula(self, points: Tensor) -> Float[Tensor, "member parameter parameter"] | None:
        total = torch.zeros((), dtype=torch.float64, device=points.device)
        with self._network.measuring():
            for share, batch in self._parts.weighted(points, GRAPHS):
                if share > 0:
                    own = self._derivatives.hessian(points, batch)
                    if own is None:
                        return None
                    total = total + share * own.double()
        return total
