import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.core.errors import DamagedError, StorageError
from bathymetry.store.chunks import Chunk, chunk_path, config_hash, load, missing, read_chunk, save, stored, verify
from bathymetry.store.chunks import _seal as seal
from bathymetry.store.chunks import _unseal as unseal
from store import cases

SETTING = {"epochs": 3}
NAME = config_hash(SETTING)
OTHER = "b" * 32


def kept(folder, *ranges):
    for members in ranges:
        save(folder, NAME, SETTING, cases.chunk(members))


def test_a_stored_chunk_is_found_again_by_later_versions():
    """A new field of `TrainingConfig` renames every chunk unless its default is left out of the description."""
    x = torch.arange(4.0)[:, None]
    config = bm.TrainingConfig(bm.MLPConfig((1, 2, 1)), (x, x), epochs=3)
    assert config_hash(config.description()) == "53969907227981f534f48e99801f1f9c"


def test_a_chunk_comes_back_as_it_was_stored(tmp_path):
    whole = cases.chunk(range(4, 9))
    path = save(tmp_path, NAME, SETTING, whole)
    assert path == tmp_path / "units" / NAME / "4-8.safetensors"
    back = read_chunk(path)
    assert back.members == whole.members
    assert back.record.identical(whole.record)
    assert back.provenance == whole.provenance
    assert back.snapshots.keys() == whole.snapshots.keys()
    for epoch, arrays in whole.snapshots.items():
        assert np.array_equal(back.snapshots[epoch]["0.weight"], arrays["0.weight"])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10))), st.integers(0, 20), st.integers(1, 40))
def test_missing_ranges_and_what_is_stored_cover_exactly_what_is_wanted(have, first, count):
    ranges = [range(start, start + length) for start, length in have]
    wanted = range(first, first + count)
    absent = missing(ranges, wanted)
    members = [member for one in absent for member in one]
    assert members == [member for member in wanted if not any(member in one for one in ranges)]
    assert all(1 <= len(one) <= 10 for one in absent)


def test_a_run_of_ten_after_a_run_of_six_wants_four():
    assert missing([range(6)], range(10)) == [range(6, 10)]


@pytest.mark.parametrize("wanted", [range(6), range(2, 5), range(3, 14), range(16)])
def test_members_are_loaded_from_overlapping_units(tmp_path, wanted):
    kept(tmp_path, range(6), range(4, 10), range(2), range(10, 16))
    chunk = load(tmp_path, NAME, wanted)
    assert chunk.members == wanted
    assert chunk.record["member"].values.tolist() == list(wanted)
    assert chunk.record["train_loss"].sel(epoch=2).values.tolist() == [member + 0.2 for member in wanted]
    assert chunk.snapshots[0]["0.weight"][:, 0, 0].tolist() == list(wanted)


def test_members_of_a_chunk_that_ended_early_keep_their_last_values(tmp_path):
    save(tmp_path, NAME, SETTING, cases.chunk(range(2), epochs=3))
    save(tmp_path, NAME, SETTING, cases.chunk(range(2, 4), epochs=1))
    record = load(tmp_path, NAME, range(4)).record
    assert record["epoch"].values.tolist() == [0, 1, 2, 3]
    assert record["step"].values.tolist() == [0, 10, 20, 30]
    assert record["train_loss"].values.tolist() == [
        [0.0, 0.1, 0.2, 0.3],
        [1.0, 1.1, 1.2, 1.3],
        [2.0, 2.1, 2.1, 2.1],
        [3.0, 3.1, 3.1, 3.1],
    ]


def test_a_member_that_is_not_stored_is_named(tmp_path):
    kept(tmp_path, range(3))
    with pytest.raises(StorageError, match="no member 3"):
        load(tmp_path, NAME, range(5))


@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "foreign", "renamed"])
def test_a_damaged_chunk_is_reported_and_quarantined_and_nothing_is_deleted(tmp_path, damage):
    kept(tmp_path, range(3), range(3, 6))
    path = chunk_path(tmp_path, NAME, range(3))
    content = path.read_bytes()
    if damage == "renamed":
        path = path.rename(chunk_path(tmp_path, NAME, range(5)))
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
        path.write_bytes({"cut": content[:-20], "empty": b"", "flip": flipped, "foreign": b"not a chunk"}[damage])
    before = path.read_bytes()
    whole, said = verify(tmp_path, NAME)
    assert list(whole) == [range(3, 6)] == stored(tmp_path, NAME)
    assert len(said) == 1
    assert "damaged" in said[0]
    aside = list((tmp_path / "damaged").iterdir())
    assert [one.read_bytes() for one in aside] == [before]


@pytest.mark.parametrize("obstacle", ["link", "permission"])
def test_a_chunk_that_can_not_be_read_is_neither_damaged_nor_missing(tmp_path, monkeypatch, obstacle):
    kept(tmp_path, range(3))
    path = chunk_path(tmp_path, NAME, range(3))
    if obstacle == "permission":

        def refuse(self):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "unmounted")
    assert stored(tmp_path, NAME) == [range(3)]
    with pytest.raises(StorageError, match=r"0-2\.safetensors can't be read") as caught:
        verify(tmp_path, NAME)
    assert not isinstance(caught.value, DamagedError)
    assert os.path.lexists(path)
    assert not (tmp_path / "damaged").exists()


def test_a_folder_of_chunks_that_can_not_be_looked_into_is_not_an_empty_one(tmp_path):
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / NAME).symlink_to(tmp_path / "unmounted")
    with pytest.raises(StorageError, match="a link that leads nowhere"):
        stored(tmp_path, NAME)
    (tmp_path / "units" / NAME).unlink()
    (tmp_path / "units" / NAME).write_text("a file")
    with pytest.raises(StorageError, match=r"\(it is no folder\): move it away\."):
        stored(tmp_path, NAME)


def test_a_folder_in_the_place_of_a_chunk_is_quarantined_with_what_is_in_it(tmp_path):
    path = chunk_path(tmp_path, NAME, range(3))
    path.mkdir(parents=True)
    (path / "mine.txt").write_text("mine")
    whole, said = verify(tmp_path, NAME)
    assert whole == {}
    assert "it is a folder. It was moved to" in said[0]
    assert [one.read_text() for one in (tmp_path / "damaged").rglob("mine.txt")] == ["mine"]


def test_a_chunk_under_the_hash_of_another_config_is_quarantined(tmp_path):
    kept(tmp_path, range(3))
    path = chunk_path(tmp_path, OTHER, range(3))
    path.parent.mkdir()
    chunk_path(tmp_path, NAME, range(3)).rename(path)
    whole, said = verify(tmp_path, OTHER)
    assert whole == {}
    assert f"it belongs to another config, {NAME}. It was moved to" in said[0]


def test_a_chunk_that_does_not_say_its_config_is_read_as_earlier_versions_wrote_it(tmp_path):
    kept(tmp_path, range(3))
    path = chunk_path(tmp_path, NAME, range(3))
    arrays, words = unseal(path)
    path.write_bytes(seal(arrays, {name: one for name, one in words.items() if name != "config"}))
    assert list(verify(tmp_path, NAME)[0]) == [range(3)]


@pytest.mark.parametrize(
    "words",
    [
        {"format": 1, "members": [0, 3], "variables": {}, "coordinates": [], "attributes": {}, "provenance": {}},
        {"format": 3, "members": [0, 3]},
        {"format": 2, "members": [0, 3], "variables": []},
        {"members": [0, 3]},
        {"members": "all", "variables": {}, "coordinates": [], "attributes": {}, "provenance": {}},
        [],
    ],
)
def test_a_whole_chunk_of_another_version_is_not_called_damaged_and_stays(tmp_path, words):
    path = chunk_path(tmp_path, NAME, range(3))
    path.parent.mkdir(parents=True)
    path.write_bytes(seal({"record/loss": np.zeros(3)}, words))
    with pytest.raises(StorageError, match="is whole but no chunk that this version understands") as caught:
        verify(tmp_path, NAME)
    assert not isinstance(caught.value, DamagedError)
    assert path.is_file()


@pytest.mark.parametrize("members", [[-1, 2], [0, 4], [1, 4], [0, 10**15], [0, 3, 2]])
def test_a_chunk_that_names_other_members_than_it_holds_is_refused(tmp_path, members):
    path = save(tmp_path, NAME, SETTING, cases.chunk(range(3)))
    arrays, words = unseal(path)
    path.write_bytes(seal(arrays, words | {"members": members}))
    with pytest.raises(StorageError, match="no chunk that this version understands"):
        read_chunk(path)


def test_words_that_a_later_version_adds_are_passed_over(tmp_path):
    kept(tmp_path, range(3))
    path = chunk_path(tmp_path, NAME, range(3))
    arrays, words = unseal(path)
    path.write_bytes(seal({**arrays, "later/numbers": np.zeros(2)}, {**words, "later": 1}))
    assert read_chunk(path).record.identical(cases.chunk(range(3)).record)


@pytest.mark.slow
def test_every_flipped_bit_of_a_chunk_is_noticed(tmp_path):
    path = save(tmp_path, NAME, SETTING, cases.chunk(range(2), epochs=1))
    content = path.read_bytes()
    unnoticed = []
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ (1 << (place % 8))]) + content[place + 1 :])
        try:
            same = read_chunk(path)
            # white space between the header and the numbers carries nothing
            if not same.record.identical(cases.chunk(range(2), epochs=1).record):
                unnoticed.append(place)
        except StorageError:
            continue
    assert unnoticed == []


def test_two_damaged_files_of_one_name_and_second_are_both_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    for content in (b"one", b"two", b"three"):
        kept(tmp_path, range(3))
        chunk_path(tmp_path, NAME, range(3)).write_bytes(content)
        assert verify(tmp_path, NAME)[0] == {}
    aside = sorted((tmp_path / "damaged").iterdir())
    assert {one.read_bytes() for one in aside} == {b"one", b"two", b"three"}
    assert [one.stem.rpartition("000000")[2] for one in aside] == ["-2", "-3", ""]


def test_a_damaged_file_that_can_not_be_moved_stays_and_is_named(tmp_path):
    kept(tmp_path, range(3))
    path = chunk_path(tmp_path, NAME, range(3))
    path.write_bytes(b"not a chunk")
    (tmp_path / "damaged").write_text("in the way")
    with pytest.raises(StorageError, match=f"can't be made .*: move {path} away, or what is in the way"):
        verify(tmp_path, NAME)
    assert path.read_bytes() == b"not a chunk"


def again(folder, *, seconds=2.0, shift=0.0, **provenance):
    """Store the chunk of members 0 to 2 once more, as a second process does; return what it says."""
    said = []
    one = cases.chunk(range(3))
    record = one.record.assign(train_loss=one.record["train_loss"] + shift)
    machine = {"seconds": seconds, "processor": "Fast 9", "versions": {"torch": "2"}, **provenance}
    save(folder, NAME, SETTING, Chunk(one.members, record, one.snapshots, machine), said.append)
    return said


def test_a_chunk_that_two_processes_finish_is_kept_once_and_in_silence(tmp_path):
    assert again(tmp_path, seconds=1.0) == []
    before = chunk_path(tmp_path, NAME, range(3)).read_bytes()
    assert again(tmp_path, seconds=2.0) == []
    assert again(tmp_path, processor="Slow 1") == []
    assert chunk_path(tmp_path, NAME, range(3)).read_bytes() == before


def test_other_numbers_of_another_processor_or_version_are_noted_and_the_first_are_kept(tmp_path):
    again(tmp_path)
    before = chunk_path(tmp_path, NAME, range(3)).read_bytes()
    (said,) = again(tmp_path, shift=1e-16 + 1e-9, processor="Slow 1")
    assert "was computed twice with different numbers on Fast 9 and Slow 1, which round differently" in said
    (said,) = again(tmp_path, shift=1e-9, versions={"torch": "3"})
    assert "with other versions or another device" in said
    assert chunk_path(tmp_path, NAME, range(3)).read_bytes() == before


def test_other_numbers_of_the_same_processor_are_an_error_and_the_first_are_kept(tmp_path):
    again(tmp_path)
    with pytest.raises(StorageError, match=r"different numbers on the same processor \(Fast 9\): expected a network"):
        again(tmp_path, shift=1e-9)
    assert read_chunk(chunk_path(tmp_path, NAME, range(3))).record["train_loss"][0, 0] == 0


def test_a_second_process_puts_a_whole_chunk_in_the_place_of_a_damaged_one(tmp_path):
    again(tmp_path)
    path = chunk_path(tmp_path, NAME, range(3))
    path.write_bytes(path.read_bytes()[:-20])
    (said,) = again(tmp_path)
    assert "damaged" in said
    assert read_chunk(path).members == range(3)
    assert len(os.listdir(tmp_path / "damaged")) == 1


@pytest.mark.parametrize("content", [b"", b'{"epochs": 3', b'{"epochs": 4}', b"[" * 100_000, b"\x80\x04pickle"])
def test_a_damaged_config_is_quarantined_and_written_again(tmp_path, content):
    kept(tmp_path, range(3))
    path = tmp_path / "units" / NAME / "config.json"
    whole = path.read_bytes()
    path.write_bytes(content)
    said = []
    save(tmp_path, NAME, SETTING, cases.chunk(range(3, 6)), said.append)
    assert path.read_bytes() == whole
    assert "config.json is damaged" in said[0]
    assert [one.read_bytes() for one in (tmp_path / "damaged").iterdir()] == [content]


def test_a_cut_at_any_byte_and_a_flip_at_every_seventh_are_damage(tmp_path):
    kept(tmp_path, range(2))
    path = chunk_path(tmp_path, NAME, range(2))
    content = path.read_bytes()
    damaged = [content[:end] for end in range(0, len(content), 29)]
    damaged += [content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :] for at in range(0, len(content), 7)]
    for one in damaged:
        path.write_bytes(one)
        try:  # white space between the header and the numbers carries nothing
            assert read_chunk(path).record.identical(cases.chunk(range(2)).record)
        except DamagedError:
            continue


@pytest.mark.parametrize("name", ["../../0-2.safetensors", "0-2.safetensors/../x", "-1-2.safetensors", "0-2.pickle"])
def test_a_name_that_is_none_of_a_chunk_is_no_chunk(tmp_path, monkeypatch, name):
    kept(tmp_path, range(3))
    monkeypatch.setattr("bathymetry.store.storage.names", lambda folder: [name, "0-2.safetensors"])
    assert stored(tmp_path, NAME) == [range(3)]
