"""Lines whose ends are networks with statistics, buffers and outputs of their own, held to those networks."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError

F64 = torch.float64
CHANCE = torch.Generator().manual_seed(0)
X = 3 * torch.randn(30, 4, generator=CHANCE) + 1
Y = (X[:, 0] > 1).long() + (X[:, 1] > 1).long()


def normalised(seed):
    """A network in evaluation mode whose running statistics are those of some training."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    for _ in range(20):
        model(X + seed)
    return model.eval()


def own_loss(model, x=X, y=Y):
    return nn.functional.cross_entropy(copy.deepcopy(model).double()(x.double()), y).detach()


def own_accuracy(model):
    return (copy.deepcopy(model).double()(X.double()).argmax(1) == Y).double().mean()


def mixed(a, b, alpha, statistics):
    """The network between two in PyTorch alone; its statistics between theirs, or from one pass over the data."""
    model = copy.deepcopy(a).double()
    states = a.state_dict(), b.state_dict()
    model.load_state_dict({
        name: one.double() + alpha * (states[1][name].double() - one.double()) for name, one in states[0].items()
    })  # fmt: skip
    if statistics == "estimate":
        z = model[0](X.double())
        model[1].running_mean, model[1].running_var = z.mean(0).detach(), z.var(0).detach()
    return model


@pytest.mark.parametrize(
    ("statistics", "memory"), [("estimate", 2**31), ("interpolate", 2**31), ("interpolate", 30_000)]
)
def test_between_two_networks_with_statistics_of_their_own(statistics, memory):
    a, b = normalised(0), normalised(1)
    surface = LossSurface(a, "cross_entropy", (X, Y), dtype=F64, max_bytes=memory)
    alphas = [-0.1, 0.0, 0.3, 0.5, 1.0, 1.1]
    line = probes.interpolate(surface, a, b, alphas, statistics=statistics)
    for alpha, loss, accuracy in zip(alphas, line.loss, line.accuracy, strict=True):
        model = {0.0: a, 1.0: b}.get(alpha) or mixed(a, b, alpha, statistics)
        torch.testing.assert_close(loss, own_loss(model))
        assert accuracy == own_accuracy(model)
    assert torch.equal(a[1].running_mean, normalised(0)[1].running_mean)


def test_estimated_statistics_of_several_batches_are_means_by_their_examples():
    a, b = normalised(0), normalised(1)
    surface = LossSurface(a, "cross_entropy", [(X[:20], Y[:20]), (X[20:], Y[20:])], dtype=F64)
    other = X[:15] + 1, Y[:15]
    for data, pieces in ((None, [X[:20], X[20:]]), (other, [other[0]]), ([other, (X, Y)], [other[0], X])):
        line = probes.interpolate(surface, a, b, 3, statistics="estimate", data=data)
        model = mixed(a, b, 0.5, "interpolate")
        outputs = [model[0](piece.double()).detach() for piece in pieces]
        rows = sum(len(z) for z in outputs)
        model[1].running_mean = sum(len(z) * z.mean(0) for z in outputs) / rows
        model[1].running_var = sum(len(z) * z.var(0) for z in outputs) / rows
        torch.testing.assert_close(line.loss[1], own_loss(model))


def test_a_permuted_twin_is_the_same_network_and_its_line_has_ends():
    a, order = normalised(0), torch.randperm(8, generator=torch.Generator().manual_seed(2))
    b = copy.deepcopy(a)
    with torch.no_grad():
        for name in ("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"):
            b.state_dict()[name].copy_(a.state_dict()[name][order])
        b[3].weight.copy_(a[3].weight[:, order])
    surface = LossSurface(a, "cross_entropy", (X, Y))
    with pytest.raises(InputError, match=r"1\.running_mean is not this surface's.*bm\.LossSurface\(network"):
        surface.flatten(b)
    with pytest.raises(InputError, match=r'1\.running_mean differs from a\'s.*statistics="estimate"'):
        probes.interpolate(surface, a, b)
    ends = probes.interpolate(surface, a, b, [0.0, 1.0])
    torch.testing.assert_close(ends.loss.float(), own_loss(a).float().expand(2))
    aligned = probes.interpolate(surface, a, bm.align(a, b))
    assert (aligned.loss == aligned.loss[0]).all()


def test_between_a_network_and_itself_all_is_flat_whatever_its_statistics():
    a = normalised(0)
    line = probes.interpolate(LossSurface(normalised(1), "cross_entropy", (X, Y)), a, copy.deepcopy(a), 3)
    assert (line.loss == line.loss[0]).all()
    torch.testing.assert_close(line.loss[0].float(), own_loss(a).float())


def test_statistics_without_effect_are_not_required():
    a, b = normalised(0).train(), normalised(1).train()
    surface = LossSurface(a, "cross_entropy", (X, Y))
    torch.testing.assert_close(surface.loss(surface.flatten(b)).item(), own_loss(b).item(), rtol=1e-5, atol=0)
    line = probes.interpolate(surface, a, b, 3)
    same = probes.interpolate(surface, surface.parameters, surface.flatten(b), 3, statistics="estimate")
    assert torch.equal(line.loss, same.loss)


class Positions(nn.Module):
    """Adds a table that all networks share, keeps one that plays no part, and a note of what it saw."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 3), None
        self.register_buffer("table", torch.arange(4.0))
        self.register_buffer("unused", torch.randn(2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.seen = x.detach().clone()
        return self.layer(x + self.table)


def test_buffers_that_networks_share_or_do_not_use_are_not_refused():
    a, b = Positions(), Positions()
    b(X), b(X)
    surface = LossSurface(a, "cross_entropy", (X, Y))
    assert surface.loss(surface.flatten(b)).item() == pytest.approx(own_loss(b).item(), rel=1e-6)  # sums in float32
    assert probes.interpolate(surface, a, b).loss[-1] == surface.loss(surface.flatten(b))


class Features(nn.Module):
    """A random basis of its own, as a buffer, a fixed parameter or an attribute."""

    def __init__(self, kind, seed):
        super().__init__()
        torch.manual_seed(seed)
        basis = torch.randn(4, 6)
        if kind == "buffer":
            self.register_buffer("basis", basis)
        else:
            self.basis = nn.Parameter(basis, requires_grad=False) if kind == "parameter" else basis
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer((x @ self.basis).tanh())


@pytest.mark.parametrize("kind", ["buffer", "parameter", "attribute"])
def test_tensors_besides_the_parameters_move_with_their_network(kind):
    a, b = Features(kind, 0), Features(kind, 1)
    surface = LossSurface(a, "cross_entropy", (X, Y))
    with pytest.raises(InputError, match="basis is not this surface's"):
        surface.flatten(b)
    line = probes.interpolate(surface, a, b, [0.0, 0.5, 1.0], statistics="interpolate")
    middle = copy.deepcopy(a)
    with torch.no_grad():
        middle.basis.copy_((a.basis + b.basis) / 2)
        for one, x, y in zip(middle.layer.parameters(), a.layer.parameters(), b.layer.parameters(), strict=True):
            one.copy_((x + y) / 2)
    for loss, model in zip(line.loss, (a, middle, b), strict=True):
        torch.testing.assert_close(loss.item(), nn.functional.cross_entropy(model(X), Y).item())
    if kind == "parameter":  # which lies between like the weights
        assert torch.equal(probes.interpolate(surface, a, b, [0.0, 0.5, 1.0]).loss, line.loss)
    else:
        with pytest.raises(InputError, match='basis differs from a\'s: expected statistics="interpolate"'):
            probes.interpolate(surface, a, b)
    assert torch.equal(a.basis, Features(kind, 0).basis)


def test_some_parameters_of_another_network_leave_the_rest_to_the_surface():
    a, b = normalised(0), normalised(1)
    b[1].load_state_dict(a[1].state_dict())
    surface = LossSurface(a, "cross_entropy", (X, Y), params=["3"])
    expected = copy.deepcopy(a)
    expected[3].load_state_dict(b[3].state_dict())
    torch.testing.assert_close(surface.loss(surface.flatten(b)).item(), own_loss(expected).item())


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)), "layer 2 is a Tanh"),
        (
            nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU(), nn.Linear(8, 3)),
            r"a network without 1\.running_mean",
        ),
        (nn.Linear(4, 3), r"a network without 0\.weight"),
    ],
)
def test_another_architecture_is_no_end(other, sentence):
    surface = LossSurface(normalised(0), "cross_entropy", (X, Y))
    with pytest.raises(InputError, match=sentence):
        surface.flatten(other)
    with pytest.raises(InputError, match=sentence):
        probes.interpolate(surface, normalised(0), other)


def recorded(**arguments):
    def build():
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    return bm.train(build, (X, Y), members=2, epochs=3, batch_size=10, loss="cross_entropy", **arguments)


def test_an_ensemble_with_statistics_has_no_theta_that_would_lose_them():
    trained = recorded(snapshots=[0, 3])
    for measure in (lambda: trained.theta, lambda: trained.trajectory):
        with pytest.raises(InputError, match=r"without 1\.running_mean.*bm\.LossSurface\(trained\.model\(0\)"):
            measure()
    assert "parameters" in repr(trained)
    losses = [LossSurface(trained.model(i), "cross_entropy", (X, Y)).loss().item() for i in trained.members]
    assert losses == pytest.approx(trained.record.loss.sel(split="train").isel(epoch=-1).values.tolist(), rel=1e-5)
    surface = LossSurface(trained.model(0), "cross_entropy", (X, Y))
    line = probes.interpolate(surface, trained.model(0), trained.model(1), 5, statistics="estimate")
    assert line.loss[[0, -1]].tolist() == pytest.approx(losses, rel=1e-5)


def test_an_ensemble_of_fixed_features_of_their_own_has_no_theta_either():
    seeds = iter(range(10))
    trained = bm.train(
        lambda: Features("buffer", next(seeds)), (X, Y), members=2, epochs=2, batch_size=10, loss="cross_entropy"
    )
    with pytest.raises(InputError, match="without basis"):
        _ = trained.theta
    shared = bm.train(Positions, (X, Y), members=1, epochs=2, batch_size=10, loss="cross_entropy")
    assert shared.theta.shape == (1, 15)


class Answering(nn.Module):
    """Answers with its logits among other things."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(4, 3)

    def forward(self, x):
        logits = self.layer(x)
        kinds = {
            "tuple": lambda: (x, logits),
            "mapping": lambda: {"logits": logits, "hidden": x},
            "object": lambda: SimpleNamespace(logits=logits, hidden=x),
        }
        return kinds[self.kind]()


LOGITS = {"tuple": lambda out: out[1], "mapping": lambda out: out["logits"], "object": lambda out: out.logits}


@pytest.mark.parametrize(
    ("kind", "output"), [("tuple", 1), ("mapping", "logits"), ("object", "logits"), ("object", LOGITS["object"])]
)
def test_an_accuracy_is_that_of_the_output_chosen(kind, output):
    torch.manual_seed(0)
    model, other = Answering(kind), Answering(kind)

    def loss(answer, target):
        return nn.functional.cross_entropy(LOGITS[kind](answer), target)

    surface = LossSurface(model, loss, [(X[:20], Y[:20]), (X[20:], Y[20:])])
    theta = torch.stack([surface.parameters, surface.flatten(other)])
    expected = [(one.layer(X).argmax(1) == Y).double().mean().item() for one in (model, other)]
    assert surface.accuracy(theta, output=output).tolist() == pytest.approx(expected)
    line = probes.interpolate(surface, model, other, [0.0, 1.0], output=output)
    assert line.accuracy.tolist() == pytest.approx(expected)
    rest = probes.interpolate(surface, model, other, [0.0, 1.0])  # without one chosen there is no accuracy
    assert rest.accuracy is None
    assert rest.error_barrier is None
    assert torch.equal(rest.loss, line.loss)
    with pytest.raises(InputError, match="output = None: the network returns"):
        surface.accuracy()


@pytest.mark.parametrize("output", ["nothing", 7, True, 1.5, lambda out: out.nothing, lambda out: "text"])
def test_an_unknown_output_is_refused_with_the_available_ones(output, unchecked):
    surface = LossSurface(Answering("mapping"), lambda out, y: nn.functional.cross_entropy(out["logits"], y), (X, Y))
    with pytest.raises(InputError, match=r"^output = "):
        surface.accuracy(output=output)
    with pytest.raises(InputError, match=r"^output = "):
        probes.interpolate(surface, surface.parameters, surface.parameters + 1, output=output)


@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.float16])
def test_grids_whose_steps_miss_their_ends_by_rounding_have_them(dtype):
    surface = LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y))
    grid = torch.linspace(-0.5, 1.5, 21, dtype=dtype)
    line = probes.interpolate(surface, surface.parameters, surface.parameters + 1, grid)
    assert line.loss[5] == surface.loss()
    assert line.loss[15] == surface.loss(surface.parameters + 1)
    near = torch.tensor([0.0, 1e-7, 1.0])  # a point of its own beside an end
    assert torch.equal(
        probes.interpolate(surface, surface.parameters, surface.parameters + 1, near).alpha, near.double()
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"a": None}, "a = None: expected a network"),
        ({"b": "here"}, "b = str"),
        ({"b": [nn.Linear(4, 3)]}, "b = list"),
        ({"b": torch.zeros(15).to_sparse()}, "b = "),
        ({"b": torch.zeros(15, device="meta")}, "b = "),
        ({"statistics": "mean"}, "statistics = mean"),
        ({"statistics": None}, "statistics = None"),
        ({"data": (X, Y)}, r"data = tuple: expected statistics=.estimate."),
        ({"alphas": torch.zeros(3, device="meta")}, "alphas = "),
        ({"alphas": {0: 1}}, "alphas = "),
        ({"surface": nn.Linear(4, 3)}, "surface = Linear"),
        ({"surface": None}, "surface = None"),
    ],
)
def test_odd_arguments_are_one_sentence(arguments, sentence, unchecked):
    surface = LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y))
    given = {"surface": surface, "a": surface.parameters, "b": surface.parameters} | arguments
    with pytest.raises(InputError, match=sentence):
        probes.interpolate(**given)


class Scaled(nn.Module):
    """Looks up a fixed scale by a word."""

    def __init__(self, *scales):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(1, 3)
        self.register_buffer("scales", torch.tensor(scales))

    def forward(self, words):
        return self.layer(self.scales[words][:, None])


@pytest.mark.parametrize("memory", [2**31, 1])  # the second cuts a batch to pieces
@pytest.mark.parametrize("cut", [5, 9])
def test_a_buffer_that_takes_part_in_a_later_batch_goes_with_its_network_too(cut, memory):
    words, labels = torch.tensor([0] * 5 + [1] * 5), torch.arange(10) % 3
    batches = [(words[:cut], labels[:cut]), (words[cut:], labels[cut:])]
    a, b = Scaled(1.0, 2.0), Scaled(1.0, 3.0)
    surface = LossSurface(a, "cross_entropy", batches, max_bytes=memory)
    with pytest.raises(InputError, match="scales is not this surface's"):
        surface.flatten(b)
    line = probes.interpolate(surface, a, b, [0.0, 0.5, 1.0], statistics="interpolate")
    for loss, model in zip(line.loss, (a, Scaled(1.0, 2.5), b), strict=True):
        assert loss.item() == pytest.approx(nn.functional.cross_entropy(model(words), labels).item(), rel=1e-6)


@pytest.mark.parametrize(("mine", "shape"), [(2, r"\(2,\)"), (None, "none")])
def test_another_network_whose_buffer_has_another_shape_is_refused(mine, shape):
    def scaled(size):
        model = nn.Linear(4, 3)
        model.register_buffer("scale", None if size is None else torch.ones(size))
        return model

    surface = LossSurface(scaled(mine), "cross_entropy", (X, Y))
    with pytest.raises(InputError, match=rf"scale of shape \(3,\): .*where it has shape {shape}"):
        surface.flatten(scaled(3))
