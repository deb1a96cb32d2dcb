import sys
import uuid
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry

import bathymetry as bm
from bathymetry.core.errors import InputError, StorageError
from bathymetry.execution import Progress
from bathymetry.store import storage
from bathymetry.store.chunks import (
    chunk_path,
    config_hash,
    load,
    read_chunk,
    save,
    stored,
    stored_in,
    verify,
    verify_all,
)
from bathymetry.store.folder import check_folder, output_folder
from bathymetry.store.results import keep_earlier_result, others, read_results, write_results
from bathymetry.store.storage import Address, place_of
from execution.own_study import OwnWidth
from store import cases
from store.test_results import results

SETTING = {"epochs": 3}
NAME = config_hash(SETTING)


@pytest.fixture(params=["folder", "memory"])
def place(request, tmp_path):
    return tmp_path / "store" if request.param == "folder" else place_of("out", f"memory://{uuid.uuid4().hex}/store")


def test_what_is_written_is_read_listed_moved_and_deleted_in_every_kind_of_store(place):
    assert storage.names(place) == []
    assert not storage.exists(place / "a" / "file.bin")
    storage.write(place / "a" / "file.bin", b"one")
    storage.write(place / "a" / "file.bin", b"three")
    storage.write(place / "other", b"")
    assert storage.read(place / "a" / "file.bin") == b"three"
    assert storage.names(place) == ["a", "other"]
    assert storage.names(place / "a") == ["file.bin"]
    assert storage.exists(place / "a" / "file.bin")
    assert storage.move(place / "a" / "file.bin", place / "b" / "moved.bin") == place / "b" / "moved.bin"
    assert storage.move(place / "other", place / "b" / "moved.bin") == place / "b" / "moved-2.bin"
    assert storage.names(place / "b") == ["moved-2.bin", "moved.bin"]
    assert storage.read(place / "b" / "moved.bin") == b"three"
    storage.delete(place / "b" / "moved.bin")
    storage.delete(place / "b" / "moved.bin")
    assert storage.names(place / "b") == ["moved-2.bin"]
    with pytest.raises(StorageError, match=r"moved\.bin can't be read \(there is no such file\)"):
        storage.read(place / "b" / "moved.bin")


def test_another_writer_is_seen_at_once(place):
    assert storage.names(place) == []
    files = fsspec.filesystem("file" if isinstance(place, Path) else "memory", skip_instance_cache=True)
    path = str(place if isinstance(place, Path) else place.path)
    files.makedirs(path)
    files.pipe_file(f"{path}/new", b"1")
    assert storage.names(place) == ["new"]


def test_chunks_and_results_are_kept_alike_in_every_kind_of_store(place):
    for members in (range(3), range(3, 6)):
        save(place, NAME, SETTING, cases.chunk(members))
    assert stored(place, NAME) == [range(3), range(3, 6)]
    assert load(place, NAME, range(1, 5)).record["train_loss"].sel(epoch=2).values.tolist() == [1.2, 2.2, 3.2, 4.2]
    storage.write(chunk_path(place, NAME, range(3)), b"cut off")
    whole, sentences = verify(place, NAME)
    assert list(whole) == [range(3, 6)] == stored(place, NAME)
    assert "damaged" in sentences[0]
    (aside,) = storage.names(place / "damaged")
    assert storage.read(place / "damaged" / aside) == b"cut off"

    path = place / "made" / "result.nc"
    write_results(path, results())
    assert read_results(path).attrs == results().attrs
    other = results().attrs | {"settings": {"members": 2, "names": ["other"]}}
    assert "an earlier result with other settings is now made/result-" in keep_earlier_result(path, other)
    assert [one.attrs for one in others(path.parent, other)] == [results().attrs]


def test_a_place_of_another_project_is_refused_and_left_alone(place):
    storage.write(place / "thesis.tex", b"mine")
    with pytest.raises(InputError, match=r"it holds files that are not Bathymetry's \(thesis\.tex\)"):
        check_folder(place)
    with pytest.raises(InputError), output_folder(place):
        pass
    assert storage.names(place) == ["thesis.tex"]


def test_a_place_of_a_later_version_is_refused(place):
    storage.write(place / "bathymetry.json", b'{"format": 99}')
    with pytest.raises(InputError, match="later version"):
        check_folder(place)


def test_an_address_has_no_lock_for_work_done_twice_is_only_waste():
    place = place_of("out", f"memory://{uuid.uuid4().hex}")
    with output_folder(place), output_folder(place):
        assert storage.names(place) == ["bathymetry.json"]


def test_a_study_in_memory_has_the_numbers_of_one_in_a_folder_and_is_used_again(tmp_path):
    place = f"memory://{uuid.uuid4().hex}/run"
    fields = {"preset": "smoke", "members": 2}
    there, here = (bm.run_study(OwnWidth, out=out, **fields).results for out in (place, tmp_path / "run"))
    for group in here.children:
        assert there[group].to_dataset().drop_attrs().identical(here[group].to_dataset().drop_attrs())
    said = []

    class Heard(Progress):
        def say(self, sentence):
            said.append(sentence)

        def begin(self, *_):
            raise AssertionError("nothing is left to train")

    again = bm.run_study(OwnWidth, out=place, progress=Heard(), **fields)
    assert again.results["main"].to_dataset().identical(there["main"].to_dataset())
    assert any("are stored and used again" in one for one in said)
    assert bm.load_study(f"{place}/own-width", OwnWidth).results.identical(again.results)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tape://drive/1", "tape is no protocol that fsspec knows; expected a folder, or an address such as s3://"),
        ("sw3://bucket", "did you mean s3?"),
        ("s3://", "expected a folder, or an address such as s3://bucket/run1"),
        ("memory://a/../../b", r"with no empty part and no \.\."),
        ("memory://a//b", "no empty part"),
        ("memory://a/b::file:///etc", "expected a folder"),
        (Path("s3://bucket/run"), r'a path can\'t hold an address; expected text, "s3://'),
        (3, "expected a path"),
    ],
)
def test_an_address_that_nothing_can_open_is_refused_in_a_sentence(address, sentence):
    with pytest.raises(InputError, match=sentence):
        place_of("out", address)


@pytest.mark.parametrize(("address", "path"), [("file:///tmp/x/", Path("/tmp/x")), ("some/where", Path("some/where"))])
def test_a_local_folder_is_a_path_however_it_is_written(address, path):
    assert place_of("out", address) == path


def test_an_address_has_the_parts_of_a_path():
    place = place_of("out", "memory://name/run/") / "units" / "0-9.safetensors"
    assert (str(place), place.name, place.stem, place.suffix) == (
        "memory://name/run/units/0-9.safetensors",
        "0-9.safetensors",
        "0-9",
        ".safetensors",
    )
    assert str(place.with_suffix(".checkpoint")) == "memory://name/run/units/0-9.checkpoint"
    assert str(place.parent.with_name("damaged")) == "memory://name/run/damaged"
    assert place_of("out", place) is place


@pytest.mark.parametrize(
    ("protocol", "package", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gs"), ("gcs", "gcsfs", "gs")]
)
def test_a_missing_extra_is_named_with_what_installs_it(monkeypatch, protocol, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(_registry, protocol, raising=False)
    with pytest.raises(
        InputError,
        match=rf"^out = {protocol}://bucket/run: {package} is not installed; .*: pip install \"\.\[{extra}\]\"\.",
    ):
        place_of("out", f"{protocol}://bucket/run")


def test_a_store_that_only_reads_is_said(monkeypatch):
    place = Address("memory", place_of("out", "memory://only/read").path)

    def refuse(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "pipe_file", refuse)
    with pytest.raises(
        StorageError, match=r"can't be written \(access is denied: Access Denied\): choose a place that"
    ):
        storage.write(place / "file", b"1")


def test_many_configs_are_listed_and_verified_together_as_one_by_one(place):
    settings = [{"epochs": count} for count in range(70)]
    configs = [config_hash(one) for one in settings]
    for config, setting in zip(configs, settings, strict=True):
        save(place, config, setting, cases.chunk(range(2)))
    save(place, configs[3], settings[3], cases.chunk(range(2, 4)))
    storage.write(place / "units" / configs[5] / "0-1.checkpoint", b"is no chunk")
    storage.write(chunk_path(place, configs[69], range(2)), b"cut off")
    absent = config_hash({"epochs": 1000})
    listed = stored_in(place, [*configs, absent])
    assert listed == {config: stored(place, config) for config in (*configs, absent)}
    assert listed[configs[3]] == [range(2), range(2, 4)]
    left = list(verify_all(place, listed, repair=False))
    assert [list(whole) for whole, _ in left] == [*[*listed.values()][:69], [], []]
    assert storage.exists(chunk_path(place, configs[69], range(2)))
    verified = list(verify_all(place, listed))
    assert [list(whole) for whole, _ in verified] == [*[*listed.values()][:69], [], []]
    assert [len(said) for _, said in verified] == [0] * 69 + [1, 0]
    assert verified[3][0][range(2, 4)].record.identical(cases.chunk(range(2, 4)).record)
    assert not storage.exists(chunk_path(place, configs[69], range(2)))


def test_records_that_share_coordinates_do_not_share_numbers(tmp_path):
    for start, epochs in ((0, 3), (2, 3), (4, 5)):
        save(tmp_path, NAME, SETTING, cases.chunk(range(start, start + 2), epochs))
    for start, epochs in ((0, 3), (2, 3), (4, 5), (0, 3)):
        record = read_chunk(chunk_path(tmp_path, NAME, range(start, start + 2))).record
        assert record.identical(cases.chunk(range(start, start + 2), epochs).record)
        record["train_loss"] = record["train_loss"] + 1
        record.coords["epoch"] = record["epoch"] * 2
