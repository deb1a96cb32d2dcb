"""Training an ensemble is held to the same networks trained alone with `torch.optim`."""

import pytest
import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.core.randomness import stream, stream_seed
from bathymetry.data.examples import Data
from bathymetry.surface import LossSurface
from bathymetry.training import SGD, Adam, AdamW, EvaluationSet, Measurement, StopWhen, TrainingState, train
from training import cases

OPTIMIZERS = {
    "Adam": (Adam(lr=1e-2), lambda p: torch.optim.Adam(p, lr=1e-2)),
    "AdamW": (AdamW(lr=1e-2), lambda p: torch.optim.AdamW(p, lr=1e-2)),
    "SGD": (SGD(lr=1e-2), lambda p: torch.optim.SGD(p, lr=1e-2)),
    "momentum": (SGD(lr=1e-2, momentum=0.9), lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9)),
}
LOSSES = {"mse": (cases.regression, nn.MSELoss()), "cross_entropy": (cases.classification, nn.CrossEntropyLoss())}


def alone(build, data: Data, make_optimizer, loss, member: int, steps: int, batch_size: int | None) -> nn.Module:
    """The slow twin: one network, float64, the ordinary loop."""
    with torch.random.fork_rng():
        torch.manual_seed(stream_seed(0, member, "initialisation"))
        module = build().double()
    optimizer = make_optimizer(module.parameters())
    inputs, targets = data.x_train.double(), data.y_train
    targets = targets.double() if targets.is_floating_point() else targets
    done = epoch = 0
    while done < steps:
        order = torch.randperm(len(inputs), generator=stream(0, member, "data order", epoch))
        for batch in order.split(batch_size or len(inputs)):
            if done == steps:
                break
            optimizer.zero_grad()
            loss(module(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            done += 1
        epoch += 1
    return module


@pytest.mark.parametrize("backend", ["stacked", "vmap", "loop"])
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_each_member_equals_the_same_network_trained_alone(optimizer, loss, batch_size, backend):
    make_data, torch_loss = LOSSES[loss]
    ours, theirs = OPTIMIZERS[optimizer]
    data = make_data()
    trained = train(
        cases.perceptron,
        data,
        members=3,
        optimizer=ours,
        loss=loss,
        steps=100,
        batch_size=batch_size,
        dtype=torch.float64,
        backend=backend,
    )
    for member in range(3):
        twin = alone(cases.perceptron, data, theirs, torch_loss, member, 100, batch_size)
        for mine, other in zip(trained.model(member).parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_a_convolution_takes_the_general_path_and_equals_the_network_alone():
    data = cases.regression()
    trained = train(cases.convolution, data, members=2, steps=50, batch_size=7, dtype=torch.float64)
    twin = alone(cases.convolution, data, lambda p: torch.optim.Adam(p), nn.MSELoss(), 1, 50, 7)
    assert trained.backend == "vmap"
    for mine, other in zip(trained.model(1).parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_batchnorm_goes_one_by_one_with_statistics_of_its_own():
    data = cases.regression(24)
    trained = train(cases.normalised, data, members=2, steps=30, batch_size=8, dtype=torch.float64)
    twin = alone(cases.normalised, data, lambda p: torch.optim.Adam(p), nn.MSELoss(), 1, 30, 8)
    assert trained.backend == "loop"
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(trained.model(1).state_dict()[name], value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("build", [cases.perceptron, cases.convolution, cases.with_dropout])
def test_member_three_is_the_same_alone_and_in_five(build):
    data = cases.regression()
    settings = {"steps": 40, "batch_size": 6, "dtype": torch.float64}
    together, by_itself = train(build, data, members=5, **settings), train(build, data, members=range(3, 4), **settings)
    for name, value in together.model(3).state_dict().items():
        torch.testing.assert_close(by_itself.model(3).state_dict()[name], value, rtol=1e-10, atol=1e-10)


def test_training_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    train(cases.with_dropout, cases.regression(), members=2, epochs=2, batch_size=5)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("batch_size", [None, 5])
def test_hyperparameters_may_differ_from_member_to_member(batch_size):
    data = cases.regression()
    rates = (1e-3, 1e-2, 1e-3)
    trained = train(
        cases.perceptron,
        data,
        members=3,
        optimizer=Adam(lr=rates),
        steps=60,
        batch_size=batch_size,
        dtype=torch.float64,
    )
    for member, rate in enumerate(rates):
        twin = alone(
            cases.perceptron, data, lambda p, r=rate: torch.optim.Adam(p, lr=r), nn.MSELoss(), member, 60, batch_size
        )
        for mine, other in zip(trained.model(member).parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_gradient_descent_on_a_line_follows_the_closed_form():
    """(w − y)² with x = 1 and rate η contracts the error by 1 − 2η each step."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(1, 1, bias=False))

    one = torch.ones(1, 1)
    data = Data("line", *(cases.Examples(one, 3 * one),) * 2, source="")
    trained = train(build, data, members=4, optimizer=SGD(lr=0.1), epochs=20, dtype=torch.float64)
    losses = trained.record.loss.sel(split="train")
    expected = losses.sel(epoch=0) * 0.8 ** (2 * losses.epoch)
    torch.testing.assert_close(torch.tensor(losses.values), torch.tensor(expected.values), rtol=1e-10, atol=1e-14)


def test_a_diverged_member_is_marked_and_the_others_go_on():
    data = cases.regression()
    rates = (1e-2, 1e30, 1e-2)
    trained = train(cases.perceptron, data, members=3, optimizer=SGD(lr=rates), epochs=20)
    healthy = train(cases.perceptron, data, members=3, optimizer=SGD(lr=1e-2), epochs=20)
    assert trained.record.diverged.values.tolist() == [False, True, False]
    assert bool(trained.record.loss.sel(split="train").sel(member=[0, 2]).notnull().all())
    torch.testing.assert_close(
        torch.tensor(trained.record.loss.sel(split="train").sel(member=2).values),
        torch.tensor(healthy.record.loss.sel(split="train").sel(member=2).values),
        rtol=1e-5,
        atol=1e-7,
    )


def test_records_are_means_over_whole_sets_at_the_epochs_asked_for():
    data = cases.classification()
    trained = train(
        cases.perceptron,
        data,
        members=2,
        loss="cross_entropy",
        epochs=6,
        batch_size=10,
        record_at=[2, 4],
        dtype=torch.float64,
    )
    assert trained.record.epoch.values.tolist() == [0, 2, 4, 6]
    assert trained.record.step.values.tolist() == [0, 6, 12, 18]
    outputs = trained.model(1)(data.x_train.double())
    loss = nn.functional.cross_entropy(outputs, data.y_train)
    assert float(trained.record.loss.sel(split="train").sel(member=1, epoch=6)) == pytest.approx(loss.item(), rel=1e-12)
    right = (outputs.argmax(1) == data.y_train).double().mean()
    assert float(trained.record.accuracy.sel(split="train").sel(member=1, epoch=6)) == pytest.approx(right.item())


def test_each_member_may_have_targets_of_its_own():
    data = cases.regression()
    own = torch.randn(2, 23, 2, generator=torch.Generator().manual_seed(3))
    trained = train(cases.perceptron, data, members=2, targets=own, epochs=15, batch_size=4, dtype=torch.float64)
    for member in range(2):
        relabelled = Data("own", cases.Examples(data.train.inputs, own[member]), data.test, source="")
        twin = alone(cases.perceptron, relabelled, lambda p: torch.optim.Adam(p), nn.MSELoss(), member, 90, 4)
        for mine, other in zip(trained.model(member).parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


def test_several_named_sets_can_be_judged_by():
    data = cases.regression()
    twice = cases.Examples(data.test.inputs, 2 * data.test.targets)
    own = EvaluationSet(data.test, torch.zeros(2, 23, 2))
    trained = train(
        cases.perceptron, data, members=2, epochs=1, evaluate_on={"doubled": twice, "zero": own}, dtype=torch.float64
    )
    outputs = trained.model(0)(data.x_test.double())
    assert trained.record.loss.dims == ("split", "member", "epoch")
    assert trained.record.examples.values.tolist() == [23, 23]
    assert float(trained.record.loss.sel(split="zero")[0, -1]) == pytest.approx(outputs.square().mean().item())
    assert float(trained.record.loss.sel(split="doubled")[0, -1]) == pytest.approx(
        (outputs - 2 * data.y_test).square().mean().item()
    )


def test_a_member_that_has_learned_enough_stops_by_itself():
    data = cases.regression()
    free = train(cases.perceptron, data, members=3, optimizer=Adam(lr=1e-2), epochs=60)
    level = float(free.record.loss.sel(split="train").sel(member=1, epoch=30))
    stopped = train(
        cases.perceptron,
        data,
        members=3,
        optimizer=Adam(lr=1e-2),
        epochs=60,
        stop=StopWhen("train_loss", at_most=level),
    )
    reached = (free.record.loss.sel(split="train") <= level).transpose("member", "epoch").values.tolist()
    expected = [row.index(True) if any(row) else -1 for row in reached]
    assert stopped.record.stopped_at.values.tolist() == expected
    last = stopped.record.loss.sel(split="train").sel(member=1)
    assert float(last[-1]) == pytest.approx(
        float(free.record.loss.sel(split="train").sel(member=1, epoch=expected[1])), rel=1e-5
    )


@pytest.mark.parametrize("batch_size", [None, 5])
def test_measurements_see_the_parameters_the_gradient_the_moments_and_the_streams(batch_size):
    seen: list[TrainingState] = []

    def norm(moment: TrainingState) -> torch.Tensor:
        seen.append(moment)
        return moment.gradients.vectors().norm(dim=1)

    def weights(moment: TrainingState) -> torch.Tensor:
        return moment.parameters.vectors()

    trained = train(
        cases.perceptron,
        cases.regression(),
        members=2,
        epochs=4,
        batch_size=batch_size,
        dtype=torch.float64,
        measurements={
            "norm": norm,
            "weights": Measurement(
                lambda m: m.parameters.vectors(), epochs=(1, 3), dimension="snapshot", axes=("weight",)
            ),
            "draw": lambda m: torch.stack([torch.rand(1, generator=m.stream(k)) for k in m.members]),
        },
        snapshots=[1],
    )
    assert set(seen[-1].moments) == {"exp_avg", "exp_avg_sq"}
    assert trained.record.norm.dims == ("member", "epoch")
    assert trained.record.weights.dims == ("member", "snapshot", "weight")
    assert trained.record.snapshot.values.tolist() == [1, 3]
    kept = torch.cat([t.flatten(1) for t in trained.snapshots[1].values()], 1)
    assert torch.equal(torch.tensor(trained.record.weights.sel(snapshot=1).values), kept)
    if batch_size is None:
        module = trained.model(1)
        nn.functional.mse_loss(
            module(cases.regression().x_train.double()), cases.regression().y_train.double()
        ).backward()
        expected = torch.cat([p.grad.flatten() for p in module.parameters()]).norm()
        assert float(trained.record.norm[1, -1]) == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"members": 0}, "members"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2, "steps": 5}, "epochs = 2, steps = 5: expected only one of them"),
        ({"batch_size": 24}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"loss": "hinge"}, "loss"),
        ({"record_at": [9]}, "record_at"),
        ({"optimizer": Adam(lr=(1e-3, 1e-2, 1e-1))}, "lr"),
        ({"targets": torch.zeros(3, 23)}, "targets"),
        ({"build": lambda: 3}, "build"),
        ({"members": -1}, "members = -1"),
        ({"members": range(5, 2)}, "members"),
        ({"epochs": 2.5}, "epochs = 2.5"),
        ({"loss": lambda answers, targets: (answers - targets) ** 2}, "loss"),
        ({"device": "cuda:77"}, "device"),
        ({"snapshots": (2,)}, "snapshots = 2"),
    ],
)
def test_a_bad_setting_is_named(changed, field, unchecked):
    settings = {"build": cases.perceptron, "members": 2, "epochs": 1, **changed}
    with pytest.raises(InputError, match=rf"^{field}"):
        train(settings.pop("build"), cases.regression(), **settings)


@pytest.mark.parametrize(("lr", "field"), [(-1.0, "lr"), (float("nan"), "lr")])
def test_a_bad_learning_rate_is_refused(lr, field):
    with pytest.raises(InputError, match=field):
        Adam(lr=lr)


def tied():
    model = nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)
    )
    model[4].weight, model[4].bias = model[2].weight, model[2].bias
    return model


def hooked():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model.register_forward_hook(lambda module, inputs, output: 3 * output)
    return model


class KnowsItsMode(nn.Module):
    """Twice as loud while training, and louder by the step."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.seen += 1
        return self.layer(x) * (2.0 if self.training else 1.0) * (1 + 0.1 * self.seen)


@pytest.mark.parametrize("build", [tied, hooked, KnowsItsMode])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_what_only_looks_plain_equals_the_network_alone(build, batch_size):
    data = cases.regression(24)
    features, outputs = data.x_train.shape[1], data.y_train.shape[1]
    assert (features, outputs) == (3, 2)
    trained = train(build, data, members=2, steps=20, batch_size=batch_size, dtype=torch.float64)
    twin = alone(build, data, lambda p: torch.optim.Adam(p), nn.MSELoss(), 1, 20, batch_size)
    for mine, other in zip(trained.model(1).parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)
    model = trained.model(1)
    seen = nn.functional.mse_loss(model(data.x_test.double()), data.y_test.double()).item()
    assert float(trained.record.loss.sel(split="test").isel(epoch=-1).sel(member=1)) == pytest.approx(seen, rel=1e-9)


def test_batchnorm_sees_every_full_batch_once():
    data = cases.regression(24)
    trained = train(cases.normalised, data, members=1, epochs=10, dtype=torch.float64)
    twin = alone(cases.normalised, data, lambda p: torch.optim.Adam(p), nn.MSELoss(), 0, 10, None)
    (mine,), (other,) = (
        [m for m in one.modules() if isinstance(m, nn.BatchNorm1d)] for one in (trained.model(0), twin)
    )
    assert mine.num_batches_tracked == other.num_batches_tracked == 10
    torch.testing.assert_close(mine.running_var, other.running_var, rtol=1e-10, atol=1e-12)
    seen = nn.functional.mse_loss(twin.eval()(data.x_test.double()), data.y_test.double()).item()
    assert float(trained.record.loss.sel(split="test").isel(epoch=-1, member=0)) == pytest.approx(seen, rel=1e-9)


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_member_that_stopped_keeps_its_statistics(batch_size):
    data = cases.regression(24)
    given = {"batch_size": batch_size, "dtype": torch.float64, "optimizer": Adam(lr=1e-2)}
    first = train(cases.normalised, data, members=1, epochs=8, **given)
    level = float(first.record.loss.sel(split="train").isel(epoch=-1, member=0))
    stop = StopWhen("train_loss", at_most=level)
    trained = train(cases.normalised, data, members=3, epochs=20, stop=stop, **given)
    losses = trained.record.loss.sel(split="train").sel(member=0)
    stopped = int(trained.record.stopped_at.sel(member=0))
    assert 0 < stopped < 20
    later = losses.sel(epoch=slice(stopped, None)).values
    assert (later == later[0]).all()


def test_a_checkpoint_in_memory_can_be_resumed():
    data, kept = cases.regression(24), []
    whole = train(
        cases.perceptron, data, members=2, epochs=6, batch_size=8, checkpoint=kept.append, checkpoint_every=0.0
    )
    again = train(cases.perceptron, data, members=2, epochs=6, batch_size=8, resume=kept[4])
    assert again.record.identical(whole.record)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"optimizer": "adam"}, "optimizer"),
        ({"optimizer": Adam}, "optimizer"),
        ({"schedule": 3}, "schedule"),
        ({"stop": "train_loss"}, "stop"),
        ({"seed": "a"}, "seed"),
        ({"dtype": "float64"}, "dtype"),
        ({"dtype": torch.int32}, "dtype"),
        ({"backend": "fast"}, "backend"),
        ({"members": 2.5}, "members"),
    ],
)
def test_what_is_of_another_kind_is_named(given, field, unchecked):
    with pytest.raises(InputError, match=f"{field} = "):
        train(cases.perceptron, cases.regression(), epochs=1, **given)


def test_a_network_in_place_of_its_builder_and_a_name_in_place_of_data_are_named(unchecked):
    with pytest.raises(InputError, match="build = Sequential: expected a function"):
        train(cases.perceptron(), cases.regression(), epochs=1)
    with pytest.raises(InputError, match=r"data = mnist: expected what bm\.load returns"):
        train(cases.perceptron, "mnist", epochs=1)


@pytest.mark.parametrize("build", [cases.perceptron, cases.convolution, tied])
def test_the_members_vectors_are_points_of_a_loss_surface(build):
    data = cases.regression(24)
    trained = train(build, data, members=3, epochs=4, snapshots=[0, 2], dtype=torch.float64)
    surface = LossSurface(trained.model(0), "mse", data, dtype=torch.float64)
    for member in range(3):
        own = LossSurface(trained.model(member), "mse", data, dtype=torch.float64)
        assert torch.equal(trained.theta[member], own.parameters)
        assert torch.equal(surface.flatten(trained.model(member)), own.parameters)
    assert trained.trajectory.shape == (3, 3, surface.dimension)
    assert torch.equal(trained.trajectory[:, -1], trained.theta)
    first = nn.utils.parameters_to_vector([one[1] for one in trained.snapshots[2].values()])
    assert torch.equal(trained.trajectory[1, 1], first)


def test_a_parameter_without_axes_has_its_place_in_the_vector():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.scale * self.layer(x)

    trained = train(Scaled, cases.regression(), members=2, epochs=1)
    assert torch.equal(trained.theta[:, 0], trained.parameters["scale"])
    assert trained.theta.shape == (2, 9)


def test_a_network_of_another_architecture_is_no_point_of_the_surface(unchecked):
    surface = LossSurface(cases.perceptron(), "mse", cases.regression())
    for other in (nn.Linear(3, 7), nn.Sequential(nn.Linear(4, 7)), "a network"):
        with pytest.raises(InputError, match="network = "):
            surface.flatten(other)


class Branching(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.first, self.second, self.branch = nn.Linear(3, 6), nn.Linear(6, 2), branch

    def forward(self, x):
        return self.second(self.branch(self.first(x)))


def by_sign(h):
    return h.relu() if h.sum() > 0 else h.tanh()


def by_value(h):
    return h / max(float(h.detach().abs().max()), 1.0)


def only_finite(h):
    assert not torch.isnan(h).any()
    return h.tanh()


def branching_loss(output, target):
    error = (output - target).square().mean()
    return error if error > 0.5 else 2 * error.sqrt()


@pytest.mark.parametrize("members", [1, 3, 10])
@pytest.mark.parametrize(
    ("branch", "loss"),
    [
        *((branch, loss) for branch in (by_sign, by_value, only_finite) for loss in LOSSES),
        (by_sign, branching_loss),
        (torch.tanh, branching_loss),
    ],
)
def test_control_flow_that_depends_on_numbers_trains_as_the_network_alone(branch, loss, members):
    make_data, torch_loss = LOSSES.get(loss, (cases.regression, loss))
    data, last = make_data(9), members - 1

    def build():
        return Branching(branch)

    trained = train(build, data, members=members, optimizer=SGD(0.1), loss=loss, steps=9, batch_size=4,
                    dtype=torch.float64)  # fmt: skip
    twin = alone(build, data, lambda p: torch.optim.SGD(p, lr=0.1), torch_loss, last, 9, 4)
    assert trained.backend == "loop"
    for mine, other in zip(trained.model(last).parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("branch", "loss"), [(by_sign, "mse"), (torch.tanh, branching_loss)])
def test_the_batched_path_is_refused_where_the_network_or_the_loss_branches(branch, loss):
    with pytest.raises(InputError, match=r"backend = vmap: torch\.func can't batch"):
        train(lambda: Branching(branch), cases.regression(), members=2, epochs=1, loss=loss, backend="vmap")
