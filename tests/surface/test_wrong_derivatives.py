"""Derivatives that are not what they seem are refused, and kinks, steps and low precision never are."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bathymetry import probes
from bathymetry.core.errors import InputError
from bathymetry.surface import HiddenRandomness, LossSurface

F64 = torch.float64
F = nn.functional


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(count, of, seed=1):
    return torch.randint(0, of, (count,), generator=torch.Generator().manual_seed(seed))


class Custom(nn.Module):
    """Two linear layers with a function of one's own between them."""

    def __init__(self, between):
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 6), nn.Linear(6, 3), between

    def forward(self, x):
        return self.last(self.between(self.first(x)))


class Reversed(torch.autograd.Function):
    """The identity, with its gradient turned round."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return -g


class CutSine(torch.autograd.Function):
    """Right the first time, and without a graph behind its backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.detach().cos()


class WholeSine(torch.autograd.Function):
    """Right every time."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x.cos()


def hooked(change):
    def between(x):
        y = x.tanh()
        if y.requires_grad:
            y.register_hook(change)
        return y

    return between


class Words(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.words, self.last = nn.Embedding(6, 3, **how), nn.Linear(3, 3)
        nn.init.normal_(self.words.weight, std=2)

    def forward(self, x):
        return self.last(self.words(x).mean(1))


class Saved(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(checkpoint(self.first, x, use_reentrant=True))


WRONG = {
    "straight-through step": (Custom(lambda x: x + (x.round() - x).detach()), "first", "straight-through"),
    "detached branch": (Custom(lambda x: x.tanh() + x.sigmoid().detach()), "first", "detach"),
    "reversed gradient": (Custom(Reversed.apply), "first", "autograd function Reversed"),
    "hook that scales": (Custom(hooked(lambda g: 2 * g)), "first", "gradient hook"),
    "hook that clips": (Custom(hooked(lambda g: g.clamp(-1e-4, 1e-4))), "first", "gradient hook"),
    "no_grad": (Custom(torch.no_grad()(torch.tanh)), "first", "no_grad"),
    "re-entrant checkpoint": (Saved(), "first", "use_reentrant=False"),
    "padding_idx": (Words(padding_idx=0), "words", "words.padding_idx = None"),
    "scale_grad_by_freq": (Words(scale_grad_by_freq=True), "words", "words.scale_grad_by_freq = False"),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("dtype", [None, F64])
@pytest.mark.parametrize("name", WRONG)
def test_a_gradient_that_is_not_the_derivative_is_refused_by_the_name_of_its_layer(name, dtype):
    model, layer, cause = WRONG[name]
    x = (
        torch.randint(0, 6, (16, 4), generator=torch.Generator().manual_seed(2))
        if type(model) is Words
        else drawn(16, 4)
    )
    with pytest.raises(InputError, match=rf"gradient of {layer} is not the derivative of the loss.*{cause}"):
        LossSurface(model, "cross_entropy", (x, classes(16, 3)), dtype=dtype)
    surface = LossSurface(model, "cross_entropy", (x, classes(16, 3)), params=["last"], dtype=F64)
    assert probes.eigenvalues(surface, k=1).converged.all()  # what lies behind it has right derivatives


def test_a_padding_row_that_no_example_uses_is_no_reason():
    x = torch.randint(1, 6, (16, 4))
    LossSurface(Words(padding_idx=0), "cross_entropy", (x, classes(16, 3)))


@pytest.mark.parametrize(
    ("between", "cause"),
    [(CutSine.apply, "autograd function CutSine"), (hooked(lambda g: g.detach()), "gradient hook")],
)
def test_a_second_derivative_that_is_cut_is_refused_and_the_gradient_stays(between, cause):
    torch.manual_seed(0)
    surface = LossSurface(Custom(between), "cross_entropy", (drawn(16, 4), classes(16, 3)), dtype=F64)
    assert bool(surface.gradient().isfinite().all())
    with pytest.raises(InputError, match=f"second derivative is not that of its gradient.*{cause}"):
        surface.hessian()
    with pytest.raises(InputError, match="second derivative"):
        probes.eigenvalues(surface, k=1)


def test_a_custom_function_with_all_its_derivatives_has_the_hessian_of_the_function():
    torch.manual_seed(0)
    model, data = Custom(WholeSine.apply), (drawn(16, 4), classes(16, 3))
    twin = Custom(torch.sin)
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(
        LossSurface(model, "cross_entropy", data, dtype=F64).hessian(),
        LossSurface(twin, "cross_entropy", data, dtype=F64).hessian(),
    )


class Pooled(nn.Module):
    def __init__(self, pool, norm=nn.Identity):
        super().__init__()
        self.conv, self.norm, self.pool, self.last = nn.Conv2d(1, 8, 3), norm(), pool, nn.Linear(32, 3)

    def forward(self, x):
        return self.last(self.pool(self.norm(self.conv(x)).relu()).flatten(1)[:, :32])


class Single(nn.Module):
    """Computes in float32, whatever it is handed."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, x):
        hidden = F.linear(x.float(), self.first.weight.float(), self.first.bias.float()).relu()
        return F.linear(hidden, self.last.weight.float(), self.last.bias.float())


class Half(nn.Module):
    """Computes in bfloat16 inside."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 3)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.last(self.first(x).relu()).to(x.dtype)


def deep(activation, width=64, depth=6):
    layers = [nn.Linear(4, width), activation()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 3), nn.Flatten())


class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 30), nn.Linear(10, 3)

    def forward(self, x):
        return self.last(self.first(x).sort(dim=1).values[:, -10:])


RIGHT = {
    "deep ReLU": lambda: deep(nn.ReLU),
    "wide ReLU": lambda: deep(nn.ReLU, 512, 2),
    "leaky ReLU": lambda: deep(nn.LeakyReLU),
    "ReLU6": lambda: deep(nn.ReLU6),
    "hard swish": lambda: deep(nn.Hardswish),
    "hard shrink": lambda: deep(lambda: nn.Hardshrink(0.05)),
    "ELU": lambda: deep(nn.ELU),
    "max-pooling": lambda: Pooled(nn.MaxPool2d(2)),
    "adaptive max-pooling": lambda: Pooled(nn.AdaptiveMaxPool2d(2)),
    "BatchNorm and max-pooling": lambda: Pooled(nn.MaxPool2d(2), lambda: nn.BatchNorm2d(8)),
    "sorting": Sorted,
    "float32 inside": Single,
    "bfloat16 inside": Half,
    "absolute values": lambda: Custom(torch.abs),
    "zero branch": lambda: Custom(lambda x: x.relu() * 0),
}


@pytest.mark.parametrize("name", RIGHT)
def test_kinks_pools_and_low_precision_are_never_taken_for_wrong_derivatives(name):
    for seed in range(6):
        torch.manual_seed(seed)
        model = RIGHT[name]()
        x = drawn(12, 1, 12, 12, seed=seed) if isinstance(model, Pooled) else drawn(12, 4, seed=seed)
        for dtype in (None, F64):
            surface = LossSurface(model, "cross_entropy", (x, classes(12, 3, seed)), dtype=dtype)
            if name not in ("bfloat16 inside", "float32 inside"):
                assert surface.hvp(surface.parameters).shape == (surface.dimension,)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_no_random_network_of_ordinary_layers_is_refused(seed):
    random = torch.Generator().manual_seed(seed)

    def pick(options):
        return options[int(torch.randint(len(options), (1,), generator=random))]

    torch.manual_seed(seed)
    activation, width, depth = (
        pick([nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.Hardtanh]),
        pick([3, 50, 900]),
        pick([1, 4, 12]),
    )
    model = deep(activation, width, depth)
    scale = pick([1e-3, 1.0, 30.0])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(pick([0.0, 1.0, 3.0]) if parameter.ndim == 1 else pick([0.3, 1.0, 2.0]))
    data = scale * drawn(40, 4, seed=seed), classes(40, 3, seed)
    for dtype in (None, F64):
        surface = LossSurface(model, "cross_entropy", data, dtype=dtype)
        surface.hvp(surface.parameters)


class ZeroBranch(nn.Module):
    """A residual branch that starts at zero, and something random in it."""

    def __init__(self, draw):
        super().__init__()
        self.first, self.branch, self.last = nn.Linear(4, 8), nn.Linear(8, 4, bias=False), nn.Linear(4, 3)
        nn.init.zeros_(self.branch.weight)
        self.draw = draw

    def forward(self, x):
        return self.last(x + self.branch(self.first(x).tanh()) * self.draw(x))


RANDOM = {
    "by example": lambda x: 2 * (torch.rand(len(x), 1) < 0.5),
    "by batch, seldom": lambda x: float(torch.rand(()) > 0.3),
    "noise": lambda x: 1 + 0.01 * torch.randn(len(x), 1),
    "functional dropout": lambda x: F.dropout(torch.ones(len(x), 1), 0.5),
}


@pytest.mark.parametrize("name", RANDOM)
def test_randomness_behind_a_branch_that_starts_at_zero_is_refused(name):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with pytest.raises(InputError, match="would differ at each evaluation"):
        LossSurface(ZeroBranch(RANDOM[name]), "cross_entropy", (drawn(32, 4), classes(32, 3)))
    torch.manual_seed(0)
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_that_draws_numbers_and_does_not_use_them_is_taken_with_a_warning():
    torch.manual_seed(0)
    with pytest.warns(HiddenRandomness, match="ZeroBranch"):
        LossSurface(ZeroBranch(lambda x: 0 * torch.rand(()) + 1), "cross_entropy", (drawn(32, 4), classes(32, 3)))


@pytest.mark.parametrize("several", [False, True])
def test_padding_that_only_later_examples_hold_is_found(several):
    torch.manual_seed(0)
    model = Words(padding_idx=0)
    x, y = classes(160, 5, seed=2).reshape(40, 4) + 1, classes(40, 3)
    x[37, 2:] = 0
    data = list(zip(x.split(20), y.split(20), strict=True)) if several else (x, y)
    with pytest.raises(InputError, match=r"gradient of words is not the derivative.*padding_idx=0"):
        LossSurface(model, "cross_entropy", data)


def test_a_first_batch_without_labels_that_count_hides_nothing():
    torch.manual_seed(0)
    y = classes(24, 3)
    y[:12] = -100
    data = [(drawn(12, 4), y[:12]), (drawn(12, 4, seed=1), y[12:])]
    with pytest.raises(InputError, match="gradient of first is not the derivative"):
        LossSurface(Custom(Reversed.apply), "cross_entropy", data)


@pytest.mark.parametrize("dtype", [None, F64])
def test_a_cut_second_derivative_is_seen_beside_float32(dtype):
    def between(x):
        return CutSine.apply(2 * x).float().mul(1.0).to(x.dtype)

    torch.manual_seed(0)
    surface = LossSurface(Custom(between), "cross_entropy", (drawn(16, 4), classes(16, 3)), dtype=dtype)
    with pytest.raises(InputError, match="second derivative is not that of its gradient"):
        surface.hessian()
    right = LossSurface(Custom(lambda x: WholeSine.apply(2 * x).float().relu().to(x.dtype)), "mse",
                        (drawn(16, 4), drawn(16, 3)), dtype=dtype)  # fmt: skip
    assert right.hessian().isfinite().all()


class LopsidedSquare(torch.autograd.Function):
    """Half of each square, whose gradient is rough, so that its differences say nothing, and has a wrong derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square() / 2

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (Shifted.apply(x) + 1e-6 * (1e12 * x.detach()).sin())


class Shifted(torch.autograd.Function):
    """The identity, whose gradient goes to the next unit."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g.roll(1, -1)


def test_a_hessian_that_is_not_symmetric_is_refused_where_differences_decide_nothing():
    surface = LossSurface(Custom(LopsidedSquare.apply), "cross_entropy", (drawn(16, 4), classes(16, 3)), dtype=F64)
    assert surface.gradient().isfinite().all()
    with pytest.raises(InputError, match="wrong second derivative: the Hessian is not symmetric"):
        surface.product()(torch.ones(surface.dimension, dtype=F64))
