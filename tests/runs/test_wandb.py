import math
import struct

import numpy as np
import pytest

from bathymetry.core.errors import BathymetryError, DamagedError
from bathymetry.runs.readers.wandb import FORMAT
from runs import log_files as wb
from runs.event_files import field
from runs.reading import FILES, expect_fixture, read, write_anew
from safety.fuzzing import peak_bytes


def one(folder):
    (run,) = read(FORMAT, folder)
    return run


def rows(run, metric):
    return dict(zip(run.metrics[metric].step, run.metrics[metric].value, strict=True))


def test_offline_folders_come_back_exactly():
    runs = read(FORMAT, FILES / "wandb")
    expect_fixture(runs)
    assert {run.status for run in runs} == {"finished"}
    assert {run.id for run in runs} == {f"{run.config['optimizer']}-{run.config['seed']}" for run in runs}
    assert not any(run.notes or run.texts for run in runs)
    assert all(set(run.config) == {"optimizer", "seed", "learning_rate", "batch_size"} for run in runs)


@pytest.mark.tool
@pytest.mark.slow
def test_folders_that_wandb_writes_now_come_back_exactly(tmp_path):
    runs = read(FORMAT, write_anew("wandb", tmp_path))
    expect_fixture(runs)
    assert {run.status for run in runs} == {"finished"}


def test_values_of_every_kind(tmp_path):
    values = {
        "loss": b"NaN", "inf": b"Infinity", "low": b"-Infinity", "text": "words", "flag": True, "big": 2**60,
        "none": None, "list": [1, 2], "λ/größe": 0.1, "old": {"x": 1.5, "y": {"z": 2}}, "quoted": b'"NaN"',
        "picture": {"_type": "image-file", "width": 8}, "_timestamp": 1.0, "_runtime": 2.0,
    }  # fmt: skip
    nested = wb.item("nested", 3, "x"), wb.item("hist", "histogram", "_type"), wb.item("hist", 4, "width")
    record = field(2, wb.items(values) + b"".join(field(1, one) for one in nested) + field(2, field(1, 5)))
    run = one(wb.write(tmp_path, wb.run(), record, wb.ended()))
    expected = {
        "loss": math.nan, "inf": math.inf, "low": -math.inf, "flag": 1, "big": 2.0**60, "λ/größe": 0.1, "old.x": 1.5,
        "old.y.z": 2, "quoted": math.nan, "nested.x": 3,
    }  # fmt: skip
    assert set(run.metrics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(run.metrics[name].step, [5])
        np.testing.assert_array_equal(run.metrics[name].value, [value])
    assert run.texts == {"text"}


def test_settings_are_flat_and_change(tmp_path):
    later = field(5, field(1, wb.item("lr", 0.2)) + field(1, wb.item("b", 7, "c")) + field(2, wb.item("gone", None)))
    start = wb.run(lr=0.1, optimizer={"name": "adam", "betas": [0.9, 0.999]}, gone=1, _wandb={"x": 1})
    run = one(wb.write(tmp_path, start, later))
    assert run.config == {"lr": 0.2, "optimizer.name": "adam", "optimizer.betas": "[0.9, 0.999]", "b.c": 7}


def test_how_a_run_ended(tmp_path):
    for records, status in [
        ((wb.ended(),), "finished"),
        ((wb.ended(1),), "crashed"),
        ((wb.ended(-9),), "crashed"),
        ((), "running"),
    ]:
        assert one(wb.write(tmp_path, wb.run(), wb.logged(0, {"loss": 1}), *records)).status == status


def test_a_number_of_the_summary_alone_is_the_last_value(tmp_path):
    records = [wb.logged(step, {"loss": 1 / (step + 1)}) for step in (0, 3)]
    run = one(wb.write(tmp_path, wb.run(), *records, wb.summary({"test/accuracy": 0.75, "loss": 9, "_step": 3})))
    assert rows(run, "test/accuracy") == {3: 0.75}
    assert rows(run, "loss") == {0: 1, 3: 0.25}


def test_files_next_to_the_log_say_what_the_log_does_not(tmp_path):
    wb.write(tmp_path / "run-1-abc", wb.logged(4, {"loss": 1.0}))
    files = tmp_path / "run-1-abc" / "files"
    files.mkdir()
    (files / "config.yaml").write_text(
        "_wandb:\n  value: {x: 1}\nlr:\n  desc: null\n  value: 0.1\nopt:\n  value: {name: adam}\n"
    )
    (files / "wandb-summary.json").write_text('{"best": 0.5, "_runtime": 3, "loss": 1.0}')
    run = one(tmp_path)
    assert run.config == {"lr": 0.1, "opt.name": "adam"}
    assert rows(run, "best") == {4: 0.5}
    assert run.id == "abc"


def test_files_of_a_resumed_run_are_one_run(tmp_path):
    first = [wb.logged(step, {"loss": step}) for step in range(4)]
    second = [wb.logged(step, {"loss": 10 + step}) for step in range(3, 6)]
    wb.write(tmp_path / "offline-run-20240101_000000-abc", wb.run(seed=1), *first)
    wb.write(tmp_path / "offline-run-20240102_000000-abc", wb.run(seed=1), *second, wb.ended())
    run = one(tmp_path)
    assert rows(run, "loss") == {0: 0, 1: 1, 2: 2, 3: 13, 4: 14, 5: 15}
    assert run.status == "finished"


def test_records_over_several_blocks(tmp_path):
    texts = {"note": "x" * 100_000}
    records = [wb.logged(step, {"loss": step, **texts}) for step in range(5)]
    short = [wb.logged(10 + step, {"loss": step, "note": "x" * (step % 50)}) for step in range(3000)]
    run = one(wb.write(tmp_path, wb.run(), *records, *short, wb.ended()))
    assert rows(run, "loss") == {**{step: step for step in range(5)}, **{10 + step: step for step in range(3000)}}
    assert (run.notes, run.status) == ((), "finished")


def test_a_file_cut_anywhere_has_the_records_before_the_cut(tmp_path):
    records = [wb.run(seed=1), *(wb.logged(step, {"loss": step}) for step in range(4)), wb.ended()]
    ends = [len(wb.log(*records[:count])) for count in range(len(records) + 1)]
    whole = wb.log(*records)
    for size in range(len(whole) + 1):
        (tmp_path / "run-abc.wandb").write_bytes(whole[:size])
        run = one(tmp_path)
        count = sum(end <= size for end in ends) - 1
        assert len(run.metrics["loss"].step if run.metrics else []) == min(max(count - 1, 0), 4)
        assert run.status == ("finished" if size == len(whole) else "running")
        assert len(run.notes) == (size > 7 and size not in ends)


def test_no_changed_byte_changes_a_number(tmp_path):
    records = [wb.run(seed=1), *(wb.logged(step, {"loss": step + 1}) for step in range(4)), wb.ended()]
    whole = wb.log(*records)
    for place in range(len(whole)):
        (tmp_path / "run-abc.wandb").write_bytes(whole[:place] + bytes([whole[place] ^ 0x21]) + whole[place + 1 :])
        if place < 4:
            with pytest.raises(DamagedError, match="no file of W&B"):
                read(FORMAT, tmp_path)
            continue
        run = one(tmp_path)
        assert place < 7 or run.notes
        assert all(value == step + 1 for step, value in (rows(run, "loss") if run.metrics else {}).items())


def test_a_damaged_block_is_left_out_and_the_next_is_read(tmp_path):
    records = [wb.logged(step, {"loss": step}) for step in range(3000)]
    whole = bytearray(wb.log(wb.run(), *records, wb.ended()))
    assert len(whole) > 2 * 32768
    whole[32768 + 100] ^= 1
    (tmp_path / "run-abc.wandb").write_bytes(whole)
    run = one(tmp_path)
    steps = run.metrics["loss"].step
    assert {0, 2999} <= set(steps)
    assert len(steps) < 3000
    assert run.status == "finished"
    assert "damaged or unfinished" in run.notes[0]


def test_lengths_that_lie_take_no_memory(tmp_path):
    before = peak_bytes(restart=True)
    hostile = [
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x12\x82\x80\x80\x80\x10",
        b"\xff" * 30,
        field(2, b"\x0a\x7f"),
    ]
    run = one(wb.write(tmp_path, wb.run(), *hostile, wb.logged(1, {"loss": 1})))
    assert rows(run, "loss") == {1: 1}
    assert run.notes == ("run-abc.wandb has 4 damaged or unfinished records, left out",)
    assert peak_bytes() - before < 50e6


def test_an_empty_file_is_a_run_without_metrics(tmp_path):
    (tmp_path / "run-abc.wandb").touch()
    run = one(tmp_path)
    assert (run.id, run.metrics, run.status) == ("abc", {}, "running")


def test_steps_in_any_order_and_a_hundred_thousand_rows(tmp_path):
    steps = np.random.default_rng(0).permutation(100_000)
    run = one(wb.write(tmp_path, wb.run(), *(wb.logged(int(step), {"loss": int(step)}) for step in steps)))
    np.testing.assert_array_equal(run.metrics["loss"].step, np.arange(100_000))
    np.testing.assert_array_equal(run.metrics["loss"].value, np.arange(100_000))


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    wb.write(tmp_path, wb.run())
    (unit,) = FORMAT.units(tmp_path, list(tmp_path.iterdir()))
    unit.files[0].unlink()
    with pytest.raises(BathymetryError, match="can't be read"):
        FORMAT.read(unit, None)


def test_a_part_without_its_beginning_is_left_out(tmp_path):
    part = wb.logged(1, {"loss": 1})
    import zlib

    middle = struct.pack("<IHB", zlib.crc32(b"\x04" + part), len(part), 4) + part
    (tmp_path / "run-abc.wandb").write_bytes(wb.log(wb.run()) + middle)
    run = one(tmp_path)
    assert (run.metrics, len(run.notes)) == ({}, 1)
