"""Layers that are random, coupled or replaced, and networks inside wrappers: held to copies that have none of it."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bathymetry import LossSurface, align, mlp, probes
from bathymetry.core.errors import InputError

F64 = torch.float64
CHANCE = torch.Generator().manual_seed(0)
X, Y = torch.randn(24, 4, generator=CHANCE), torch.randint(0, 3, (24,), generator=CHANCE)
SERIES = torch.randn(12, 7, 3, generator=CHANCE)


class Sprinkled(nn.Module):
    """BatchNorm and every kind of dropout: layers, inside attention and LSTMs, and a function."""

    def __init__(self, p):
        super().__init__()
        self.p = p
        self.first, self.norm, self.drop = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(p)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 6, dropout=p, batch_first=True)
        self.body = nn.LSTM(8, 5, num_layers=2, dropout=p, batch_first=True)
        self.last = nn.Sequential(nn.AlphaDropout(p), nn.Linear(5, 3))

    def forward(self, x):
        x = self.drop(self.norm(self.first(x)).tanh())[:, None]
        x = self.body(self.encoder(x))[0][:, 0]
        return self.last(nn.functional.dropout(x, self.p, self.training))


def test_random_layers_are_off_and_batchnorm_is_as_in_training():
    torch.manual_seed(0)
    model, twin = Sprinkled(0.4), Sprinkled(0.0)
    twin.load_state_dict(model.state_dict())
    surface = LossSurface(model, "cross_entropy", (X, Y), dtype=F64, mode="no_dropout")
    own = copy.deepcopy(twin).double()
    loss = nn.functional.cross_entropy(own(X.double()), Y)
    torch.testing.assert_close(surface.loss(), loss.detach())
    slopes = torch.autograd.grad(loss, list(own.parameters()))
    torch.testing.assert_close(surface.gradient(), torch.cat([one.reshape(-1) for one in slopes]))
    other = LossSurface(twin, "cross_entropy", (X, Y), dtype=F64)
    vector = torch.randn(surface.dimension, generator=torch.Generator().manual_seed(1), dtype=F64)
    torch.testing.assert_close(surface.hvp(vector), other.hvp(vector), rtol=1e-9, atol=1e-12)
    assert surface.loss() != LossSurface(copy.deepcopy(twin).eval(), "cross_entropy", (X, Y), dtype=F64).loss()
    assert model.drop.training
    assert model.encoder.training


def test_a_surface_without_dropout_stays_one_in_float64():
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout())
    surface = LossSurface(model, "cross_entropy", (X, Y), mode="no_dropout")
    torch.testing.assert_close(surface.double().loss(), surface.loss(), rtol=1e-6, atol=0)


class Noisy(nn.Module):
    """Draws noise whether it trains or not, as the sampling of a variational autoencoder may."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, noise=None):
        return self.layer(x + (torch.randn_like(x) if noise is None else noise))


def with_batchnorm(*layers):
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), *layers)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.Dropout()), r"layer 1 \(Dropout\), random in training.*call model\.eval"),
        (nn.Sequential(nn.Linear(4, 3), nn.RReLU()), r"layer 1 \(RReLU\), random in training.*call model\.eval"),
        (with_batchnorm(nn.Dropout()), r'layer 2 \(Dropout\).*mode="no_dropout".*another surface'),
        (with_batchnorm(nn.RReLU()), r'layer 2 \(RReLU\).*mode="no_dropout".*another surface'),
        (with_batchnorm(nn.Dropout()).eval(), None),
        (with_batchnorm(nn.Dropout(0.0)), None),
        (Noisy(), r"in evaluation mode too: .*\(\(x, noise\), y\)"),
        (Noisy().eval(), r"in evaluation mode too: .*\(\(x, noise\), y\)"),
    ],
)
def test_randomness_is_answered_by_what_ends_it(model, sentence):
    data = (X, Y if not isinstance(model, Noisy) else X)
    loss = "mse" if isinstance(model, Noisy) else "cross_entropy"
    if sentence is None:
        assert LossSurface(model, loss, data).loss() > 0
        return
    with pytest.raises(InputError, match=sentence):
        LossSurface(model, loss, data)
    remedy = {"mode": "no_dropout"} if "no_dropout" in sentence else {}
    if "call model" in sentence:
        model.eval()
    if isinstance(model, Noisy):
        data = ((X, torch.randn(24, 4)), X)
    assert LossSurface(model, loss, data, **remedy).loss() > 0  # the way named works


class Carrying(nn.Module):
    """Starts from the state in which the last call left it."""

    def __init__(self):
        super().__init__()
        self.cell, self.head, self.state = nn.GRUCell(4, 5), nn.Linear(5, 3), None

    def forward(self, x):
        fits = self.state is not None and len(self.state) == len(x)
        state = self.cell(x, self.state if fits else None)
        self.state = state.detach()
        return self.head(state)


class Counting(nn.Linear):
    """Scales its answer by how often it was asked, a plain number."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


@pytest.mark.parametrize(
    ("model", "name"), [(Carrying(), "state"), (Carrying().eval(), "state"), (Counting(4, 3), "calls")]
)
def test_a_network_that_keeps_state_is_answered_by_its_name_and_not_by_its_mode(model, name):
    with pytest.raises(InputError, match=rf"which keeps {name} from one call to the next") as refused:
        LossSurface(model, "cross_entropy", (X, Y))
    assert "eval()" not in str(refused.value)


class TimeFirst(nn.Module):
    """Reads its first axis as time."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.GRU(3, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.body(x)[0]).transpose(1, 2)


def contrastive(output, target):
    return nn.functional.cross_entropy(output @ output.T, target)


@pytest.mark.parametrize(
    ("model", "loss", "data", "names"),
    [
        (TimeFirst(), "cross_entropy", (SERIES, SERIES[..., 0].gt(0).long()), r"batch_first=True"),
        (nn.Linear(4, 3), contrastive, (X, torch.arange(24)), "or its loss, which mixes the examples"),
        (with_batchnorm(), "cross_entropy", (X, Y), r"BatchNorm in training mode.*model\.eval\(\)"),
        (
            nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)).eval(),
            "cross_entropy", (X, Y), "BatchNorm without running statistics",
        ),
    ],
)  # fmt: skip
def test_batchnorm_is_blamed_where_there_is_one(model, loss, data, names):
    surface = LossSurface(model, loss, data)
    with pytest.raises(InputError, match=names) as refused:
        probes.noise_scale(surface)
    assert ("BatchNorm" in str(refused.value)) == ("BatchNorm" in names)


class Fourier(nn.Module):
    """Random features in attributes that are neither parameters nor buffers."""

    def __init__(self):
        super().__init__()
        self.basis, self.more, self.layer = torch.randn(4, 8), [torch.randn(8, 8)], nn.Linear(8, 3)

    def forward(self, x):
        return self.layer((x @ self.basis @ self.more[0]).cos())


def test_tensors_in_attributes_have_the_dtype_that_is_measured_in_and_follow_the_network():
    model = Fourier()
    basis = model.basis
    surface = LossSurface(model, "cross_entropy", (X, Y), dtype=F64)

    def expected():
        features = (X.double() @ model.basis.double() @ model.more[0].double()).cos()
        return nn.functional.cross_entropy(copy.deepcopy(model.layer).double()(features), Y).detach()

    torch.testing.assert_close(surface.loss(), expected())
    assert probes.curvature_index(LossSurface(model, "cross_entropy", (X, Y))).exact
    assert model.basis is basis
    assert basis.dtype == torch.float32
    basis.mul_(2)
    torch.testing.assert_close(surface.loss(), expected())
    model.basis = basis / 3
    torch.testing.assert_close(surface.loss(), expected())


class Fixed(nn.Linear):
    """Makes a tensor of a fixed dtype while it is asked."""

    def forward(self, x):
        return super().forward(x @ torch.eye(4))


@pytest.mark.parametrize(
    ("model", "data", "dtype", "sentence"),
    [
        (Fixed(4, 3), X, F64, r"register_buffer, or make it with dtype=x\.dtype"),
        (nn.Linear(4, 3).to(torch.bfloat16), X, None, r"measure it with dtype=torch\.float32"),
        (nn.Linear(4, 3), X.double(), None, r"measure it with dtype=torch\.float64"),
    ],
)
def test_dtypes_that_do_not_meet_are_answered_by_a_dtype_that_does(model, data, dtype, sentence):
    with pytest.raises(InputError, match=sentence):
        LossSurface(model, "cross_entropy", (data, Y), dtype=dtype)
    if "float" in sentence:
        remedy = torch.float32 if "32" in sentence else F64
        assert LossSurface(model, "cross_entropy", (data, Y), dtype=remedy).dtype == remedy


def convolution():
    torch.manual_seed(0)
    layers = nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(4, 3)
    return nn.Sequential(*layers)


def test_autocast_rounds_nothing_that_is_measured():
    surface = LossSurface(convolution(), "cross_entropy", (X, Y))
    loss, largest = surface.loss(), probes.eigenvalues(surface, k=1).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert surface.loss() == loss
        torch.testing.assert_close(probes.eigenvalues(surface, k=1).values, largest)
        assert LossSurface(convolution(), "cross_entropy", (X, Y)).loss() == loss


def compiled(model):
    return torch.compile(model, backend="aot_eager")


def compiled_in_place(model):
    model.compile(backend="aot_eager")
    return model


@pytest.mark.parametrize("wrap", [compiled, compiled_in_place, nn.DataParallel, AveragedModel])
def test_a_network_in_a_wrapper_is_measured_as_the_network_inside(wrap):
    plain = LossSurface(convolution(), "cross_entropy", (X, Y))
    surface = LossSurface(wrap(convolution()), "cross_entropy", (X, Y))
    torch.testing.assert_close(surface.hessian(), plain.hessian(), rtol=1e-5, atol=1e-6)
    assert surface.selection.shapes == plain.selection.shapes
    assert torch.equal(plain.flatten(wrap(convolution())), plain.parameters)
    assert torch.equal(surface.flatten(convolution()), plain.parameters)
    a, b = mlp([4, 5, 3]), mlp([4, 5, 3])
    assert torch.equal(align(wrap(copy.deepcopy(a)), wrap(copy.deepcopy(b)))[0].weight, align(a, b)[0].weight)


def test_a_compiled_part_is_differentiated_twice():
    inside = nn.Sequential(compiled(convolution()))
    expected = LossSurface(convolution(), "cross_entropy", (X, Y)).hessian()
    torch.testing.assert_close(LossSurface(inside, "cross_entropy", (X, Y)).hessian(), expected)


def test_a_layer_that_was_replaced_is_refused_and_a_changed_one_is_followed():
    model = nn.Sequential(nn.Linear(4, 6), nn.LeakyReLU(0.5), nn.Linear(6, 3))
    surface = LossSurface(model, "cross_entropy", (X, Y))
    model[1].negative_slope = 0.1
    torch.testing.assert_close(surface.loss().float(), nn.functional.cross_entropy(model(X), Y).detach())
    model[1] = nn.Tanh()
    for measure in (surface.loss, surface.gradient, surface.hessian, surface.example_gradient_norms):
        with pytest.raises(InputError, match="layer 1 that was replaced: make a new LossSurface"):
            measure()
    perceptron = mlp([4, 5, 3])
    surface = LossSurface(perceptron, "cross_entropy", (X, Y))
    perceptron[1] = nn.Tanh()
    with pytest.raises(InputError, match="layer 1 that was replaced"):
        surface.loss()


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (nn.Sequential(nn.LazyLinear(3)), r"0\.weight that is not initialised.*model\(x\)"),
        (nn.Sequential(nn.Linear(4, 3), nn.LazyBatchNorm1d()), "not initialised"),
        (nn.Linear(4, 3, device="meta"), "weight on the meta device"),
        (3, "expected a network"),
        (nn.Linear, "expected a network"),
    ],
)
def test_what_is_no_network_yet_is_refused_by_name_wherever_it_is_handed(model, sentence, unchecked):
    with pytest.raises(InputError, match=sentence):
        LossSurface(model, "cross_entropy", (X, Y))
    with pytest.raises(InputError, match=sentence):
        LossSurface(nn.Sequential(nn.Linear(4, 3)), "cross_entropy", (X, Y)).flatten(model)
    with pytest.raises(InputError, match=sentence):
        align(nn.Sequential(nn.Linear(4, 3)), model)
