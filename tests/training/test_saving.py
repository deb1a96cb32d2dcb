"""What is saved comes back bit for bit, with the networks where they can be built; damage is one sentence."""

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import DamagedError, InputError, StorageError
from bathymetry.training import Measurement, load_trained, train
from training import cases

DATA = cases.regression(24)
MLP = bm.MLPConfig((3, 6, 2), "tanh")


def frozen_first():
    network = cases.perceptron()
    network[0].requires_grad_(False)
    return network


class Fourier(nn.Module):
    """Random features in an attribute, which is neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.directions, self.last = torch.randn(3, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last((x @ self.directions).cos())


def saved(build, path, **given):
    measurements = {
        "norm": lambda state: state.gradients.vectors().norm(dim=1),
        "late": Measurement(lambda state: state.parameters.vectors().double(), (1, 3), "late_epoch", ("weight",)),
        "flag": lambda state: state.batch_loss > 0,
    }
    trained = train(
        build, DATA, members=range(2, 5), epochs=3, batch_size=8, seed=7, snapshots=(0, 2),
        measurements=measurements, **given,
    )  # fmt: skip
    trained.save(path)
    return trained


def assert_same(one, other):
    assert one.record.identical(other.record)
    assert {name: v.dtype for name, v in one.record.variables.items()} == {
        name: v.dtype for name, v in other.record.variables.items()
    }
    assert (one.members, one.backend, one.note) == (other.members, other.backend, other.note)
    assert list(one.parameters) == list(other.parameters)
    assert all(torch.equal(one.parameters[name], values) for name, values in other.parameters.items())
    assert list(one.snapshots) == list(other.snapshots)
    for epoch, snapshot in one.snapshots.items():
        assert all(torch.equal(snapshot[name], values) for name, values in other.snapshots[epoch].items())


@pytest.mark.parametrize("given", [{}, {"dtype": torch.float64}, {"optimizer": torch.optim.RMSprop}], ids=str)
@pytest.mark.parametrize(
    "build",
    [cases.perceptron, cases.convolution, cases.normalised, frozen_first, Fourier, MLP],
    ids=lambda build: getattr(build, "__name__", "MLPConfig"),
)
def test_a_trained_ensemble_comes_back_bit_for_bit(build, given, tmp_path):
    if build is Fourier and "dtype" in given:
        pytest.skip("its attribute has a dtype of its own")
    path = tmp_path / "trained.safetensors"
    trained = saved(build, path, **given)
    loaded = load_trained(path, build)
    assert_same(loaded, trained)
    assert repr(loaded) == repr(trained)
    for one, other in zip(loaded.networks(), trained.networks(), strict=True):
        inputs = DATA.x_test.to(next(one.parameters()).dtype)
        assert torch.equal(one(inputs), other(inputs))
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        )


def test_networks_need_their_function_unless_a_config_made_them(tmp_path):
    path = tmp_path / "trained.safetensors"
    trained = saved(cases.perceptron, path)
    loaded = load_trained(path)
    assert_same(loaded, trained)
    assert torch.equal(loaded.theta, trained.theta)
    assert torch.equal(loaded.trajectory, trained.trajectory)
    with pytest.raises(InputError, match=r"build = None: expected bm\.load_trained\(path, build\)"):
        loaded.networks()
    with pytest.raises(InputError, match="build = a function that makes another Sequential"):
        load_trained(path, cases.convolution)
    trained = saved(MLP, path)  # replaces the file
    theta = torch.stack([nn.utils.parameters_to_vector(one.parameters()) for one in load_trained(path).networks()])
    assert torch.equal(theta, trained.theta)
    saved(cases.normalised, path)
    with pytest.raises(InputError, match="build = None"):
        load_trained(path).theta  # noqa: B018 - members differ in their running statistics


@pytest.mark.parametrize("place", [0, 3, 20, 0.1, 0.4, 0.7, 0.999])
@pytest.mark.parametrize("damage", ["a bit", "the end"])
def test_a_damaged_file_is_refused_in_one_sentence(damage, place, tmp_path):
    path = tmp_path / "trained.safetensors"
    saved(MLP, path)
    content = bytearray(path.read_bytes())
    position = place if isinstance(place, int) else int(place * len(content))
    if damage == "a bit":
        content[position] ^= 1
    else:
        del content[position:]
    path.write_bytes(content)
    with pytest.raises(DamagedError) as refused:
        load_trained(path)
    assert str(refused.value).startswith(f"{path} can't be read: ")


def test_what_is_no_file_or_can_not_be_written_is_named(tmp_path, unchecked):
    with pytest.raises(StorageError, match="no such file"):
        load_trained(tmp_path / "none")
    with pytest.raises(InputError, match="path = 3"):
        load_trained(3)
    (tmp_path / "file").write_text("text")
    with pytest.raises(DamagedError, match=r"no file of Trained\.save"):
        load_trained(tmp_path / "file")
    with pytest.raises(StorageError):
        saved(MLP, tmp_path / "file" / "below")
