import math
import os
import struct

import numpy as np
import pytest

from bathymetry.core.errors import BathymetryError, DamagedError
from bathymetry.runs.files import read_source
from bathymetry.runs.readers.tensorboard import FORMAT
from bathymetry.runs.run import Layout
from runs import event_files as ev
from runs.reading import FILES, expect_fixture, read, write_anew
from safety.fuzzing import peak_bytes

SOME = ("adam-0", "adam-5", "sgd-0", "sgd-5")


def one(folder):
    """The only run of a folder."""
    (run,) = read(FORMAT, folder)
    return run


def rows(run, metric):
    return dict(zip(run.metrics[metric].step, run.metrics[metric].value, strict=True))


def test_files_of_tensorboards_writer_come_back_exactly():
    runs = read(FORMAT, FILES / "tensorboard")
    expect_fixture(runs)
    assert {run.status for run in runs} == {"finished"}
    assert {run.id for run in runs} == {f"{run.config['optimizer']}-{run.config['seed']}" for run in runs}
    assert not any(run.notes or run.texts for run in runs)


def test_files_of_pytorchs_writer_come_back_exactly():
    runs = read(FORMAT, FILES / "torch_tensorboard")
    expect_fixture(runs, SOME, more={"final/accuracy"})
    assert {run.status for run in runs} == {"finished"}
    assert {run.texts for run in runs} == {frozenset({"comment"})}


@pytest.mark.tool
@pytest.mark.slow
def test_files_that_the_tools_write_now_come_back_exactly(tmp_path):
    expect_fixture(read(FORMAT, write_anew("tensorboard", tmp_path / "one")))
    expect_fixture(read(FORMAT, write_anew("torch_tensorboard", tmp_path / "two")), SOME, more={"final/accuracy"})


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_numbers_are_those_of_tensorboards_own_reader(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rng = np.random.default_rng(0)
    steps = np.sort(rng.choice(2**40, size=500, replace=False))
    records = [
        ev.event(ev.scalar(f"tag {k % 7}", value), time=float(k), step=int(step))
        for k, (step, value) in enumerate(zip(steps, rng.normal(size=500), strict=True))
    ]
    restart = ev.event(time=500.0, step=int(steps[400]), more=ev.field(7, ev.field(1, 1)))
    again = [ev.event(ev.scalar("tag 1", -1.0), time=501.0, step=int(steps[450]))]
    for folder in (
        ev.write(tmp_path / "own", *records, restart, *again),
        FILES / "tensorboard" / "adam-3",
        FILES / "torch_tensorboard" / "sgd-5",
    ):
        theirs = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        ours = one(folder)
        tags = [tag for tag in theirs.Tags()["scalars"] + theirs.Tags()["tensors"] if "text_summary" not in tag]
        assert set(tags) <= set(ours.metrics)
        for tag in tags:
            if tag in theirs.Tags()["scalars"]:
                expected = [(event.step, event.value) for event in theirs.Scalars(tag)]
            else:
                expected = [(event.step, event.tensor_proto.float_val[0]) for event in theirs.Tensors(tag)]
            assert list(rows(ours, tag).items()) == expected


def test_checksums_are_those_of_a_bitwise_loop():
    from bathymetry.runs.tfrecords import masked_crc

    assert ev.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    rng = np.random.default_rng(0)
    for length in (0, 1, 3, 8, 9, 64, 65, 300):
        content = rng.integers(0, 256, size=(3, length), dtype=np.uint8)
        assert masked_crc(content).tobytes() == b"".join(ev.masked(row.tobytes()) for row in content)


def test_numbers_of_every_kind_of_tensor(tmp_path):
    shape = ev.field(2, b"")
    contents = {
        "float": ev.field(1, 1) + shape + ev.field(5, struct.pack("<f", 0.5)),
        "unpacked float": ev.field(1, 1) + shape + ev.float32(5, 0.5),
        "double": ev.field(1, 2) + shape + ev.field(6, struct.pack("<d", 0.1)),
        "int32": ev.field(1, 3) + shape + ev.field(7, ev.varint(-7)),
        "int64": ev.field(1, 9) + shape + ev.field(10, ev.varint(2**40)),
        "uint64": ev.field(1, 23) + shape + ev.field(17, ev.varint(2**63)),
        "bool": ev.field(1, 10) + shape + ev.field(11, ev.varint(1)),
        "content": ev.field(1, 2) + shape + ev.field(4, struct.pack("<d", 0.2)),
        "one element": ev.field(1, 1) + ev.field(2, ev.field(2, ev.field(1, 1))) + ev.field(4, struct.pack("<f", 2.0)),
        "zero": ev.field(1, 1) + shape,
        "vector": ev.field(1, 1) + ev.field(2, ev.field(2, ev.field(1, 2))) + ev.field(4, struct.pack("<2f", 1, 2)),
        "text": ev.field(1, 7) + shape + ev.field(8, "words"),
    }
    records = [ev.event(ev.tensor(tag, content), step=step) for step in (0, 1) for tag, content in contents.items()]
    records.append(ev.event(ev.tensor("picture", ev.field(1, 7) + ev.field(8, b"\x89PNG"), plugin="images")))
    records.append(ev.event(ev.tensor("curve", contents["float"], plugin="pr_curves")))
    run = one(ev.write(tmp_path / "run", *records))
    assert {tag: list(rows(run, tag).items()) for tag in run.metrics} == {
        tag: [(0, value), (1, value)]
        for tag, value in {
            "float": 0.5, "unpacked float": 0.5, "double": 0.1, "int32": -7, "int64": 2**40, "uint64": 2.0**63,
            "bool": 1, "content": 0.2, "one element": 2, "zero": 0,
        }.items()
    }  # fmt: skip
    assert run.texts == {"text"}


def test_a_file_cut_anywhere_has_the_records_before_the_cut(tmp_path):
    records = [ev.VERSION, *(ev.event(ev.scalar("loss", k), time=float(k), step=60 * k) for k in range(4))]
    whole = b"".join(records)
    path = tmp_path / "events.out.tfevents.1.host"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        run = one(tmp_path)
        ends = np.cumsum([len(record) for record in records])
        assert len(run.metrics["loss"].step if run.metrics else []) == max(int((ends <= size).sum()) - 1, 0)
        assert len(run.notes) == (size not in (0, *ends))


def test_no_changed_byte_changes_a_number(tmp_path):
    ev.write(tmp_path, *(ev.event(ev.scalar("loss", k), time=float(k), step=60 * k) for k in range(4)))
    (path,) = tmp_path.iterdir()
    whole, expected = path.read_bytes(), rows(one(tmp_path), "loss")
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :])
        if 0 <= place < 12:  # the length of the first record
            with pytest.raises(DamagedError, match="no event file"):
                read(FORMAT, tmp_path)
            continue
        run = one(tmp_path)
        assert place < len(ev.VERSION) or run.notes
        assert all(expected[step] == value for step, value in (rows(run, "loss") if run.metrics else {}).items())


def test_a_damaged_record_is_left_out_and_counted(tmp_path):
    records = [ev.event(ev.scalar("loss", k), step=k) for k in range(1, 6)]
    records[2] = records[2][:-6] + bytes([records[2][-6] ^ 1]) + records[2][-5:]
    run = one(ev.write(tmp_path, *records))
    assert rows(run, "loss") == {1: 1, 2: 2, 4: 4, 5: 5}
    assert run.notes == ("events.out.tfevents.1.host has 1 damaged record, left out",)


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path):
    ev.write(tmp_path, ev.event(ev.scalar("loss", 1.0), step=1))
    ev.write(tmp_path, ev.event(ev.scalar("loss", 2.0), step=2), name="events.out.tfevents.2.host")
    (tmp_path / "events.out.tfevents.3.host").write_bytes(b"this is no event file, and is long enough")
    run = one(tmp_path)
    assert rows(run, "loss") == {1: 1, 2: 2}
    assert run.notes == (
        f"{tmp_path / 'events.out.tfevents.3.host'} is damaged or no event file: its first record has a wrong checksum",
    )


def test_what_is_no_event_file_is_refused(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_text("step,loss\n" * 9)
    with pytest.raises(DamagedError, match="no event file"):
        read(FORMAT, tmp_path)


def test_a_length_that_lies_takes_no_memory(tmp_path):
    before = peak_bytes(restart=True)
    for length in (2**63 - 1, 2**64 - 1, 2**40, 2**31):
        run = one(ev.write(tmp_path, ev.event(ev.scalar("loss", 1.0)), ev.record(b"x" * 40, length=length)))
        assert rows(run, "loss") == {0: 1}
        assert "ends within a record" in run.notes[0]
    assert peak_bytes() - before < 50e6


def test_an_empty_file_is_a_run_without_metrics(tmp_path):
    (tmp_path / "events.out.tfevents.1.host").touch()
    run = one(tmp_path)
    assert (run.metrics, run.status) == ({}, "unknown")


def test_names_steps_and_values_of_all_kinds(tmp_path):
    values = {5: math.inf, 3: math.nan, -2: 1.0, 2**40: -math.inf}
    records = [ev.event(ev.scalar("λ/größe 🙂", value), time=9.0, step=step) for step, value in values.items()]
    run = one(ev.write(tmp_path / "läuft", *records))
    assert run.id == "läuft"
    np.testing.assert_array_equal(run.metrics["λ/größe 🙂"].step, [-2, 3, 5, 2**40])
    np.testing.assert_array_equal(run.metrics["λ/größe 🙂"].value, [1, math.nan, math.inf, -math.inf])


def test_of_several_files_the_value_logged_last_counts(tmp_path):
    late = [ev.event(ev.scalar("loss", 10.0 + k), time=100.0 + k, step=k) for k in range(3, 6)]
    early = [ev.event(ev.scalar("loss", 1.0 * k), time=1.0 + k, step=k) for k in range(5)]
    ev.write(tmp_path, *late, name="events.out.tfevents.3.host")
    ev.write(tmp_path, *early, name="events.out.tfevents.2.host")
    assert rows(one(tmp_path), "loss") == {0: 0, 1: 1, 2: 2, 3: 13, 4: 14, 5: 15}


def test_a_session_that_starts_again_takes_back_the_steps_after(tmp_path):
    first = [ev.event(ev.scalar("loss", k), time=1.0 + k, step=k) for k in range(10)]
    restart = ev.event(time=50.0, step=4, more=ev.field(7, ev.field(1, 1)))
    second = [ev.event(ev.scalar("loss", 10.0 + k), time=51.0 + k, step=k) for k in range(4, 6)]
    assert rows(one(ev.write(tmp_path, *first, restart, *second)), "loss") == {0: 0, 1: 1, 2: 2, 3: 3, 4: 14, 5: 15}


def test_several_values_in_one_event(tmp_path):
    records = [ev.event(ev.scalar("a", k), ev.scalar("b", -k), step=k) for k in range(3)]
    run = one(ev.write(tmp_path, *records))
    assert (rows(run, "a"), rows(run, "b")) == ({0: 0, 1: 1, 2: 2}, {0: 0, 1: -1, 2: -2})


def test_a_hundred_thousand_rows(tmp_path):
    """Written by copying one event, whose step is all that differs; its checksum is that of a table."""
    from bathymetry.runs.tfrecords import masked_crc

    count, single = 100_000, ev.event(ev.scalar("loss", 0.25), time=1.0, step=3_000_000)
    content = np.frombuffer(single, dtype=np.uint8)[None].repeat(count, axis=0)
    steps = 3_000_000 + np.arange(count)
    for k in range(4):
        content[:, 12 + 10 + k] = steps >> 7 * k & 127 | (128 if k < 3 else 0)
    content[:, -4:] = masked_crc(content[:, 12:-4]).view(np.uint8).reshape(-1, 4)
    run = one(ev.write(tmp_path, content.tobytes()))
    np.testing.assert_array_equal(run.metrics["loss"].step, steps)
    assert (run.metrics["loss"].value == 0.25).all()
    assert run.notes == ()


def test_many_kinds_of_records_are_all_read(tmp_path):
    names = [f"{k:03}" for k in range(300)]
    run = one(ev.write(tmp_path, *(ev.event(ev.scalar(name, 1.0), step=k) for k in (0, 1) for name in names)))
    assert {name: rows(run, name) for name in names} == {name: {0: 1, 1: 1} for name in names}


def session(**settings):
    entries = [ev.field(1, ev.field(1, name) + ev.field(2, value)) for name, value in settings.items()]
    return ev.hparams(ev.field(3, b"".join(entries)))


def test_settings_of_the_hparams_plugin(tmp_path):
    start = session(lr=ev.field(2, 0.1), seed=ev.field(2, 3.0), name=ev.field(3, "größe"), nesterov=ev.field(4, 1))
    run = one(ev.write(tmp_path, start))
    assert run.config == {"lr": 0.1, "seed": 3, "name": "größe", "nesterov": True}
    assert run.status == "unknown"


def test_how_a_session_of_the_hparams_plugin_ended(tmp_path):
    for code, status in {0: "unknown", 1: "finished", 2: "crashed", 3: "running"}.items():
        end = ev.hparams(ev.field(4, ev.field(1, code)))
        assert one(ev.write(tmp_path, ev.event(ev.scalar("loss", 1.0)), end)).status == status
        after = ev.event(ev.scalar("loss", 1.0), time=2.0)  # as loggers do that write the end at the beginning
        assert one(ev.write(tmp_path, end, after)).status == "unknown"


def test_settings_of_a_file_in_the_folder_and_otherwise_of_its_name(tmp_path):
    for name in ("optimizer=adam/seed=3", "optimizer=adam,seed=3", "optimizer=adam/seed_3/version_2"):
        ev.write(tmp_path / name, ev.event(ev.scalar("loss", 1.0)))
    runs = read(FORMAT, tmp_path)
    assert [run.config for run in runs] == [{"optimizer": "adam", "seed": 3}] * 3
    (tmp_path / name / "hparams.yaml").write_text("optimizer: {name: sgd, lr: 0.1}\nseed: 4\n")
    assert {"optimizer.name": "sgd", "optimizer.lr": 0.1, "seed": 4} in [run.config for run in read(FORMAT, tmp_path)]
    assert one(ev.write(tmp_path / "one" / "adam", ev.event(ev.scalar("loss", 1.0)))).config == {}


def test_settings_with_objects_of_python_are_text_and_nothing_is_executed(tmp_path):
    ev.write(tmp_path, ev.event(ev.scalar("loss", 1.0)))
    (tmp_path / "hparams.yaml").write_text(
        "seed: 1\nargs: !!python/object:argparse.Namespace {lr: 0.1}\n"
        f"bad: !!python/object/apply:os.system ['touch {tmp_path / 'executed'}']\n"
    )
    run = one(tmp_path)
    assert (run.config["seed"], run.config["args.lr"]) == (1, 0.1)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("text", ["- a", "a: [", "{", "a: &x {b: 1}\n" + "c: *x\n" * 30, "[" * 5000, "\0"])
def test_settings_that_are_no_mapping_are_a_note(tmp_path, text):
    ev.write(tmp_path, ev.event(ev.scalar("loss", 1.0)))
    (tmp_path / "config.yaml").write_text(text)
    run = one(tmp_path)
    assert "config.yaml holds no settings" in run.notes[0]
    assert rows(run, "loss") == {0: 1}


def test_folders_of_keras_are_parts_of_one_run(tmp_path):
    for part in ("train", "validation"):
        ev.write(tmp_path / "adam_0" / part, ev.event(ev.scalar("epoch_loss", len(part))))
    run = one(tmp_path)
    assert run.id == "adam_0"
    assert (rows(run, "train/epoch_loss"), rows(run, "validation/epoch_loss")) == ({0: 5}, {0: 10})


def test_folders_that_hparams_names_by_the_time_are_runs_where_there_are_several(tmp_path):
    ev.write(tmp_path / "sweep")
    for k in range(2):
        ev.write(tmp_path / "sweep" / f"170000000{k}.5", session(seed=ev.field(2, float(k))))
    runs = read(FORMAT, tmp_path)
    assert [(run.id, run.config) for run in runs] == [(f"sweep/170000000{k}.5", {"seed": k}) for k in range(2)]


def test_folders_of_add_scalars_are_parts_of_one_run(tmp_path):
    ev.write(tmp_path / "seed=1", ev.event(ev.scalar("lr", 0.5)))
    for name in ("loss/all_train", "loss/all_val"):
        ev.write(tmp_path / "seed=1" / name.replace("/", "_"), ev.event(ev.scalar("loss/all", len(name))))
    run = one(tmp_path)
    assert run.config == {"seed": 1}
    assert {name: rows(run, name) for name in run.metrics} == {
        "lr": {0: 0.5}, "loss/all/train": {0: 14}, "loss/all/val": {0: 12}
    }  # fmt: skip


def test_a_file_in_the_folder_of_all_runs_makes_them_no_parts_of_one(tmp_path):
    ev.write(tmp_path)
    for k in range(3):
        ev.write(tmp_path / f"seed_{k}", ev.event(ev.scalar("loss", k)))
    assert [(run.id, run.config) for run in read(FORMAT, tmp_path)] == [(f"seed_{k}", {"seed": k}) for k in range(3)]
    ev.write(tmp_path, ev.event(ev.scalar("loss", 9.0)), name="events.out.tfevents.2.host")
    assert len(read(FORMAT, tmp_path)) == 4


def test_hostile_protobuf_is_counted_as_damaged(tmp_path):
    good = ev.event(ev.scalar("loss", 1.0))
    for content in (b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x2a\x05\x0a\x7f", b"\x0b", ev.field(5, b"\x80" * 30)):
        run = one(ev.write(tmp_path, good, ev.record(content)))
        assert rows(run, "loss") == {0: 1}
        assert "1 damaged record," in run.notes[0]


def test_a_folder_that_cannot_be_read_is_one_sentence(tmp_path):
    ev.write(tmp_path)
    (unit,) = FORMAT.units(tmp_path, list(tmp_path.iterdir()))
    unit.files[0].unlink()
    with pytest.raises(BathymetryError, match="can't be read"):
        FORMAT.read(unit, None)


def test_a_folder_with_another_name_is_read_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ev.write(tmp_path / "runs" / "a" / "train", ev.event(ev.scalar("loss", 1.0)))
    names = [set(read_source(tmp_path / "runs", Layout()).runs[0].metrics)]
    (tmp_path / "runs" / "a" / "train").rename(tmp_path / "runs" / "a" / "eval")
    names.append(set(read_source(tmp_path / "runs", Layout()).runs[0].metrics))
    assert names == [{"train/loss"}, {"eval/loss"}]


def test_a_later_file_counts_although_its_clock_is_behind(tmp_path):
    first = [ev.event(ev.scalar("loss", 10.0 - i), time=500.0 + i, step=i) for i in range(6)]
    again = [ev.event(ev.scalar("loss", 20.0 - i), time=200.0 + i, step=i) for i in (3, 4)]
    restart = ev.event(time=200.0, step=3, more=ev.field(7, ev.field(1, 1)))
    for name, more in (("restart", [restart]), ("plain", [])):
        folder = ev.write(tmp_path / name, *first, name="events.out.tfevents.9.host")
        ev.write(folder, *more, *again, name="events.out.tfevents.10.host")  # later, and before 9 as text
        expected = {0: 10, 1: 9, 2: 8, 3: 17, 4: 16} | ({} if more else {5: 5})
        assert rows(one(folder), "loss") == expected


def test_files_of_one_second_are_in_the_order_of_their_last_change(tmp_path):
    for place, name in enumerate(("events.out.tfevents.5.b", "events.out.tfevents.5.a")):
        ev.write(tmp_path, ev.event(ev.scalar("loss", float(place)), time=9.0 - place), name=name)
        os.utime(tmp_path / name, (place + 1, place + 1))
    assert rows(one(tmp_path), "loss") == {0: 1}
