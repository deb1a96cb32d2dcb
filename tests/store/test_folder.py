import os
import subprocess
import sys

import pytest

from bathymetry.core.errors import InputError, StorageError
from bathymetry.store.folder import check_folder, is_output_folder, output_folder, writing


def test_a_new_an_empty_and_an_own_folder_can_be_worked_in(tmp_path):
    for turn in range(2):
        with output_folder(tmp_path / "out") as folder:
            assert is_output_folder(folder)
            (folder / f"result-{turn}").write_text("kept")
    assert sorted(os.listdir(tmp_path / "out"))[-2:] == ["result-0", "result-1"]


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"thesis\.tex"), output_folder(tmp_path):
        pass
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        check_folder(tmp_path / "file")


def test_a_folder_of_a_later_version_is_refused(tmp_path):
    (tmp_path / "bathymetry.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="later version"):
        check_folder(tmp_path)


def test_several_processes_work_in_a_folder_and_one_writes_results(tmp_path, monkeypatch):
    program = (
        "import sys, pathlib\nfrom bathymetry.store import folder\nfolder.WAITING = float(sys.argv[2])\n"
        "with folder.output_folder(pathlib.Path(sys.argv[1])) as out:\n    print('works', flush=True)\n"
        "    with folder.writing(out): print('writes', flush=True)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    with output_folder(tmp_path / "out") as out, writing(out):
        impatient = subprocess.run([*command, "0.2"], capture_output=True, text=True, check=False)
        patient = subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True)
        assert patient.stdout.readline() == "works\n"
        assert patient.poll() is None
    assert impatient.stdout == "works\n"
    assert "another process has been writing into it for 0 s; wait for it, or choose another folder" in impatient.stderr
    assert patient.communicate(timeout=60)[0] == "writes\n"


def test_a_file_system_without_locks_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(self, timeout):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with output_folder(tmp_path / "out") as out, writing(out):
        (out / "page").touch()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="can't be written"), output_folder(tmp_path / "out"):
        pass


def test_a_marker_that_can_not_be_read_keeps_nobody_out(tmp_path):
    (tmp_path / "bathymetry.json").write_text("[cut")
    check_folder(tmp_path)
    with output_folder(tmp_path):
        pass
    assert is_output_folder(tmp_path)
