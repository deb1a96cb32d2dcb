"""A checkpoint that is not what was stored is reported, quarantined and not continued from."""

import json
import random
import shutil

import pytest
import torch

import bathymetry as bm
from bathymetry.execution import jobs
from bathymetry.execution.jobs import train_chunk
from bathymetry.store.chunks import _seal as seal
from bathymetry.store.chunks import _unseal as unseal
from bathymetry.store.chunks import checkpoint_path, chunk_path, config_hash, read_chunk, write_checkpoint
from bathymetry.training import checkpoint

MEMBERS = range(2, 5)
DATA = bm.data.function("sin", samples=20)


class Checkpointed(bm.Study):
    """Does it continue?"""

    hidden: int = 4

    def plan(self):
        yield self.ensemble(
            {}, bm.MLPConfig((1, self.hidden, 1)), data=DATA, epochs=6, batch_size=5, snapshots=(0, 2),
            optimizer=bm.Adam(lr=1e-2), stop=bm.StopWhen("train_loss", at_most=0.48),
        )  # fmt: skip


STUDY = Checkpointed(seed=3)


def name_of(study):
    return config_hash(study.planned.ensembles[0].config.description())


class Stopped(Exception):  # noqa: N818 - it is no error
    pass


def interrupted(out, study=STUDY, members=MEMBERS, steps=13):
    """Train for some steps, leave a checkpoint after each, and stop as a killed process does."""
    done = []

    def stop(share):
        done.append(share)
        if len(done) == steps + 1:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "CHECKPOINT_EVERY", 0.0)
        patch.setattr(checkpoint, "_PROGRESS_EVERY", 0.0)
        with pytest.raises(Stopped):
            train_chunk(study, 0, name_of(study), members, out, stop)
    return checkpoint_path(chunk_path(out, name_of(study), members))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The chunk as it is without interruption, and the bytes of a checkpoint half way."""
    out = tmp_path_factory.mktemp("whole")
    train_chunk(STUDY, 0, name_of(STUDY), MEMBERS, out)
    left = interrupted(tmp_path_factory.mktemp("left"))
    return read_chunk(chunk_path(out, name_of(STUDY), MEMBERS)), left.read_bytes()


def ends(out, whole, progress=None):
    """Train again; give what was said, after comparing the chunk with the uninterrupted one."""
    said = []
    train_chunk(STUDY, 0, name_of(STUDY), MEMBERS, out, progress, said.append)
    place = chunk_path(out, name_of(STUDY), MEMBERS)
    chunk = read_chunk(place)
    assert chunk.record.drop_attrs().identical(whole.record.drop_attrs())
    assert all(
        (chunk.snapshots[epoch][name] == values).all()
        for epoch, one in whole.snapshots.items()
        for name, values in one.items()
    )
    assert not checkpoint_path(place).exists()
    return said


def place_in(out):
    path = checkpoint_path(chunk_path(out, name_of(STUDY), MEMBERS))
    path.parent.mkdir(parents=True)
    return path


def test_a_whole_checkpoint_is_gone_on_from_bit_for_bit(tmp_path, whole, monkeypatch):
    place_in(tmp_path).write_bytes(whole[1])
    heard = []
    monkeypatch.setattr(checkpoint, "_PROGRESS_EVERY", 0.0)
    assert ends(tmp_path, whole[0], heard.append) == []
    assert heard[0] == pytest.approx(14 / 24)  # 13 steps of 24 were stored
    assert not (tmp_path / "damaged").exists()


def flipped(content, chance):
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


DAMAGES = [
    *(lambda content, share=share: content[: int(share / 20 * len(content))] for share in range(20)),
    *(lambda content, seed=seed: flipped(content, random.Random(seed)) for seed in range(30)),
    lambda content: b"",
    lambda content: content + b"x",
    lambda content: b"\0" * len(content),
    lambda content: b"\xff" * len(content),
    lambda content: content[8:],
    lambda content: content * 2,
    lambda content: b"[1, 2]",
    lambda content: bytes(reversed(content)),
    lambda content: (2**63 - 1).to_bytes(8, "little") + content[8:],
    lambda content: seal({}, {}),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_reported_and_quarantined_and_training_starts_again(damage, tmp_path, whole):
    damaged = damage(whole[1])
    place_in(tmp_path).write_bytes(damaged)
    (sentence,) = ends(tmp_path, whole[0])
    (aside,) = (tmp_path / "damaged").iterdir()
    assert str(aside) in sentence
    assert "training starts again" in sentence
    assert aside.read_bytes() == damaged


def changed(path, change):
    arrays, words = unseal(path)
    change(arrays, words["state"])
    path.write_bytes(seal(arrays, words))


def entry(packed, key):
    """The pair [key, value] of a mapping in a checkpoint."""
    return next(pair for pair in packed["entries"] if pair[0] == key)


def recorded(state, name):
    """The pair [name, value] of what a checkpoint has of the first config of a stack."""
    return entry(entry(state["parts"], "0")[1], name)


def with_entry(name, key, value):
    def change(arrays, state):
        entry(state[name] if name in state else recorded(state, name)[1], key)[1] = value

    return change


def with_a_snapshot_at_no_epoch(arrays, state):
    entry(recorded(state, "snapshots")[1], 2)[0] = "x"


CHANGES = {
    "no parameters": lambda arrays, state: arrays.pop("parameters/0.weight"),
    "no moment": lambda arrays, state: arrays.pop("moments/exp_avg/0.weight"),
    "fewer parameters": lambda arrays, state: arrays.update({"parameters/0.bias": arrays["parameters/0.bias"][:, 1:]}),
    "another dtype": lambda arrays, state: arrays.update(
        {"gradients/0.bias": arrays["gradients/0.bias"].astype("float64")}
    ),
    "a snapshot of another shape": lambda arrays, state: arrays.update(
        {"parts/0/snapshots/0/0.weight": arrays["members/stopped"]}
    ),
    "a snapshot that lacks a bias": lambda arrays, state: arrays.pop("parts/0/snapshots/2/0.bias"),
    "a snapshot at no epoch": with_a_snapshot_at_no_epoch,
    "a record that is too short": lambda arrays, state: arrays.update(
        {"parts/0/rows/train_loss": arrays["parts/0/rows/train_loss"][:, 1:]}
    ),
    "a step too many": lambda arrays, state: state.update(step=state["step"] + 1),
    "steps without end": lambda arrays, state: state.update(step=10**9),
    "an epoch before the first": lambda arrays, state: state.update(epoch=-1),
    "an epoch in words": lambda arrays, state: state.update(epoch="two"),
    "no records": lambda arrays, state: recorded(state, "epochs").__setitem__(0, "x"),
    "records at no epochs": with_entry("epochs", "train_loss", None),
    "another seed": with_entry("training", "seed", 4),
    "other members": with_entry("training", "members", [0, 3]),
    "an earlier version": lambda arrays, state: state.pop("training"),
    "nothing in words": lambda arrays, state: state.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_whole_file_that_is_no_checkpoint_of_this_training_is_set_aside(change, tmp_path, whole):
    path = place_in(tmp_path)
    path.write_bytes(whole[1])
    changed(path, change)
    (sentence,) = ends(tmp_path, whole[0])
    assert "can't continue from" in sentence
    assert len(list((tmp_path / "damaged").iterdir())) == 1


@pytest.mark.parametrize(
    "other", [Checkpointed(seed=3, hidden=5), Checkpointed(seed=4)], ids=["another architecture", "another seed"]
)
def test_a_checkpoint_of_another_config_is_set_aside(other, tmp_path, whole):
    shutil.copy(interrupted(tmp_path / "other", other), place_in(tmp_path))
    (sentence,) = ends(tmp_path, whole[0])
    assert "another config" in sentence


def test_a_folder_and_an_earlier_format_are_set_aside(tmp_path, whole):
    place_in(tmp_path).mkdir()
    (sentence,) = ends(tmp_path, whole[0])
    assert "it is a folder" in sentence
    place = chunk_path(tmp_path, name_of(STUDY), MEMBERS)
    place.unlink()
    checkpoint_path(place).write_bytes(seal({"parameters": torch.zeros(3).numpy()}, {"record": {}, "step": 1}))
    (sentence,) = ends(tmp_path, whole[0])
    assert "no checkpoint of this version" in sentence


def test_what_is_stored_comes_back(tmp_path):
    place = tmp_path / "units" / "name" / "0-1.safetensors"
    write_checkpoint(checkpoint_path(place), {"a": torch.ones(2).numpy()}, json.loads('{"step": 3}'))
    assert unseal(checkpoint_path(place))[1] == {"config": "name", "stack": [], "state": {"step": 3}}
