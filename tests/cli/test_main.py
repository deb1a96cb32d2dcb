"""The command line, through its own front door."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from bathymetry.charts import Figure
from bathymetry.charts.sheet import check_addresses
from bathymetry.cli.main import _COMMANDS, main
from bathymetry.cli.terminal import TerminalProgress, say
from bathymetry.core.errors import StorageError
from bathymetry.core.identity import digest
from bathymetry.core.system import put
from bathymetry.execution.study_run import run_study
from bathymetry.store.folder import output_folder, writing
from bathymetry.store.results import write_results
from bathymetry.studies.catalogue import SHIPPED

SMOKE = ["run", "depth-function", "--preset", "smoke", "--samples", "20", "--epochs", "3"]


def said(capsys, *arguments):
    status = main(list(arguments))
    heard = capsys.readouterr()
    return status, heard.out, heard.err


def refused(capsys, *arguments):
    status, out, err = said(capsys, *arguments)
    assert status == 2
    assert err.startswith("bathymetry: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err + out
    return err


@pytest.fixture
def out(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BATHYMETRY_DATA", raising=False)
    return tmp_path / "out"


def test_list_names_the_studies_with_their_questions(capsys):
    status, out, _ = said(capsys, "list")
    assert status == 0
    assert "depth-function " in out
    assert "do deep networks classify images better" in out


def test_a_seed_in_words_is_printed_as_the_number_that_is_stored(capsys, out):
    status, words, _ = said(capsys, *SMOKE, "--seed", "anna", "--data-seed", "4", "--plan", "--out", str(out))
    assert status == 0
    assert "seed 'anna' is 589042263708." in words
    assert "cos (cos(x) on (-10, 10), seed 4)" in words


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run"], ["run", "--help"]])
def test_help_is_given_without_an_error(capsys, arguments):
    status, out, _ = said(capsys, *arguments)
    assert status == 0
    assert "usage: bathymetry" in out


@pytest.mark.parametrize("command", [*(one for one in _COMMANDS if one != "run"), *(f"run {one}" for one in SHIPPED)])
def test_every_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert f"bathymetry {command}" in out
    assert "\n\n\n" not in out
    words = " ".join(out.replace("│", " ").split())
    assert "(default: )" not in words
    assert "(default: None)" not in words
    assert [*re.findall(r"--[a-z-]+ (?:TEXT|INT|FLOAT|STR)\b", words)] == []  # which say little of what is expected


def test_the_help_of_a_study_lists_its_settings_with_the_defaults_of_the_preset(capsys):
    for preset, members in (("quick", "6"), ("full", "10")):
        with pytest.raises(SystemExit):
            main(["run", "depth-function", "--preset", preset, "--help"])
        words = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "--learning-rate NUMBER" in words
        assert f"claims need at least 6 (default: {members})" in words


def test_show_has_settings_claims_and_figures(capsys):
    status, out, _ = said(capsys, "show", "depth-classification")
    assert status == 0
    assert re.search(r"--train-examples +all +\(quick: 10000", out)
    assert "† tested only with the data and schedule of the preset `full`." in out
    for words in ("depth-classification.c †", "94.5 to 96.5 %", "Figure 6"):
        assert words in out


@pytest.mark.parametrize(
    ("study", "flag", "text"),
    [
        ("gradient-norm", "network", "5,10,5"),
        ("random-labels", "images", "500 1000 4000 10000"),
        ("depth-function", "networks", "250 32,16,9 24,16,10,8,4"),
    ],
)
def test_show_prints_a_setting_as_it_is_typed(capsys, study, flag, text):
    _, out, _ = said(capsys, "show", study)
    assert re.search(rf"--{flag} +{text}(   \(|\n)", out)


def test_all_stands_for_no_limit(capsys, out):
    line = ["run", "capacity", "--data", "digits", "--plan", "--out", str(out)]
    assert "of these 1,500 training" not in said(capsys, *line, "--train-examples", "all", "--test-examples", "all")[1]
    assert "of these 700 training" in said(capsys, *line, "--train-examples", "700")[1]


def test_help_names_the_presets_and_each_option_once(capsys):
    _, out, _ = said(capsys, "run", "--help")
    assert "[--preset full | quick | smoke]" in out
    with pytest.raises(SystemExit):
        main(["run", "gradient-norm", "--help"])
    out = capsys.readouterr().out
    assert "--preset {full,quick,smoke}" in out
    assert "--network WIDTHS" in out
    assert "--no-plan" not in out
    assert "default: False" not in out


def test_neither_list_nor_help_waits_for_pytorch_or_xarray():
    program = "import sys; from bathymetry.cli.main import main; main(sys.argv[1:]); "
    program += "print(bool({'torch', 'xarray', 'altair'} & set(sys.modules)))"
    for arguments in (["list"], ["run", "--help"], ["--help"]):
        ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
        assert ran.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "command = frobnicate"),
        (["run", "depth-of-the-sea"], "study = depth-of-the-sea: expected one of depth-function"),
        (["run", "missing.py"], "no such file"),
        (["show", "nothing"], "study = nothing"),
        (["run", "all", "--preset", "huge"], "preset = huge: expected full, quick or smoke"),
        ([*SMOKE, "--learningrate", "1"], "--learning-rate"),
        ([*SMOKE, "--members", "0"], "members = 0: expected a whole number, at least 1"),
        ([*SMOKE, "--members", "six"], "members = six: expected a whole number"),
        ([*SMOKE, "--members"], "--members: a value is missing"),
        ([*SMOKE, "--learning-rate", "-0.1"], "learning_rate = -0.1: expected a number above 0"),
        ([*SMOKE, "--device", "tpu"], "device = tpu: expected cpu or cuda"),
        ([*SMOKE, "--functions", "cos("], "functions = cos("),
        ([*SMOKE, "--functions", "__import__('os').system('ls')"], "functions = "),
        ([*SMOKE, "--networks", "250", "a,b"], "networks = "),
        (["run", "depth-classification", "--data", "imagenet"], "data = imagenet"),
        (["run", "depth-classification", "--data", "mnist"], "bathymetry data fetch mnist"),
        (["run", "depth-classification", "--data", "digits", "--batch-size", "1501"], "batch_size = 1501"),
        (["data", "fetch"], "fetch mnist"),
        (["data", "fetch", "imagenet"], "data = imagenet"),
        (["data", "burn"], "action = burn: expected list or fetch"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_with_one_sentence_and_status_2(capsys, out, arguments, words):
    ending = ["--out", str(out)] if arguments[0] == "run" else []
    assert words in refused(capsys, *arguments, *ending)
    assert not out.exists()


def test_a_foreign_folder_is_refused_before_anything_is_done(capsys, out):
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    for command in ([*SMOKE, "--out", str(out)], ["report", str(out)], ["export", str(out)]):
        refused(capsys, *command)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_plan_is_printed_and_nothing_is_done(capsys, out):
    status, words, _ = said(capsys, *SMOKE, "--members", "25", "--plan", "--out", str(out))
    assert status == 0
    assert "150 networks, 0 of them stored; 18 chunks to train" in words
    assert not out.exists()


def seconds(words):
    number, unit = words.split()
    return float(number) * {"s": 1, "min": 60}[unit]


def parts_of(words):
    """The total of a plan and its parts, in seconds."""
    (line,) = [line for line in words.splitlines() if line.startswith("In all about ")]
    total, parts = line.removeprefix("In all about ").rstrip(".").split(": ")
    times = [part.partition(" (")[0].split(" ", 1) for part in parts.split(", ")]
    return seconds(total), {name: seconds(time) for name, time in times if time != "not estimated"}


def test_a_plan_sums_to_what_training_measuring_and_drawing_take(capsys, out):
    _, words, _ = said(
        capsys, "run", "all", "--data", "digits", "--members", "10", "--plan", "--workers", "1", "--out", str(out)
    )
    total, parts = parts_of(words)
    assert list(parts) == ["training", "measuring", "drawing"]
    assert all(parts.values())
    each = [line.partition(" to train, about ")[2] for line in words.splitlines() if " to train, about " in line]
    training = sum(seconds(one.partition(" on one core;")[0]) for one in each)
    assert parts["training"] == pytest.approx(training, abs=30 if training >= 90 else len(each))  # each is rounded
    assert total == pytest.approx(sum(parts.values()), abs=30 if total >= 90 else 0)
    assert words.count("A chunk is up to ten members") == 1


def test_a_plan_of_hours_is_about_so_many_minutes(capsys, out):
    words = ["run", "depth-function", "--preset", "full", "--members", "3000", "--workers", "1"]
    _, said_, _ = said(capsys, *words, "--plan", "--out", str(out))
    minutes = [int(one) for one in re.findall(r"(\d+) min", said_)]
    assert len(minutes) == 3
    assert all(one > 100 and one % 10 == 0 for one in minutes)  # two digits


def test_measurements_that_do_not_say_how_long_they_take_are_not_estimated(capsys, out):
    _, words, _ = said(
        capsys, "run", "gradient-norm", "--preset", "smoke", "--plan", "--workers", "1", "--out", str(out)
    )
    assert "2 measurements, not estimated; up to" in words
    assert "In all about 3 s: training 1 s, measuring not estimated, drawing 2 s." in words
    some = ["run", "gradient-norm", "minimal-ratio", "--preset", "smoke", "--plan", "--workers", "1", "--out", str(out)]
    _, words, _ = said(capsys, *some)
    assert "4 measurements, about 1 s (2 not estimated); up to" in words
    assert "measuring 1 s (4 not estimated), drawing" in words


def test_a_plan_has_the_times_of_training_and_of_measuring(capsys, out):
    short = ["run", "interpolation", "--preset", "smoke", "--members", "1", "--epochs", "1", "--out", str(out)]
    short += ["--train-examples", "200", "--test-examples", "50", "--workers", "1"]
    _, words, _ = said(capsys, *short, "--plan")
    assert "3 chunks to train, about 1 s on one core; 5 measurements, about 1 s; up to" in words
    _, words, _ = said(capsys, *short)
    assert "In all about " in words
    assert "interpolation: training 3 chunks" in words
    _, words, _ = said(capsys, *short, "--plan")
    assert "nothing to train; up to" in words
    assert parts_of(words)[1]["training"] == parts_of(words)[1]["measuring"] == 0


def test_one_chunk_is_one_chunk(capsys, out):
    line = ["run", "gradient-norm", "--preset", "smoke", "--members", "2", "--epochs", "2", "--samples", "20"]
    _, words, _ = said(capsys, *line, "--out", str(out))
    assert "1 chunk to train" in words
    assert "gradient-norm: training 1 chunk\n" in words


def test_studies_share_a_folder_and_everything_is_rebuilt_from_all_of_them(capsys, out):
    status, words, _ = said(capsys, *SMOKE, "--functions", "-x", "cos", "--low", "-3", "--out", str(out))
    assert status == 0
    assert words.startswith("Data: -x ")
    status, words, _ = said(
        capsys, "run", "depth-classification", "--preset", "smoke", "--epochs", "1", "--out", str(out)
    )
    assert status == 0
    claims = {one["id"]: one for one in json.loads((out / "claims.json").read_text())}
    assert {name.partition(".")[0] for name in claims} == {"depth-function", "depth-classification"}
    assert claims["depth-classification.c"]["verdict"] == "not tested"
    assert claims["depth-function.g"].keys() >= {"text", "kind", "finding", "members", "p", "p_holm", "parts"}
    assert set(json.loads((out / "provenance.json").read_text())) == {"depth-function", "depth-classification"}
    assert sorted(path.name for path in (out / "depth-classification" / "figures").iterdir()) == [
        "figure-05-training-loss.png", "figure-05-training-loss.svg",
        "figure-06-accuracy.png", "figure-06-accuracy.svg",
    ]  # fmt: skip
    page = (out / "report.html").read_text()
    assert "--functions -x cos" in re.sub(r"</?span[^>]*>", "", page)
    assert "Test accuracy flattens" in page
    assert "The reference run" in page

    (out / "report.html").unlink()
    status, words, _ = said(capsys, "report", str(out))
    assert status == 0
    assert (out / "report.html").read_text() == page

    status, words, _ = said(capsys, "export", str(out))
    assert status == 0
    with open(out / "tables" / "depth-classification" / "main-network-split-member-epoch.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 3 * 2 * 6 * 2
    assert {"network", "split", "member", "epoch", "loss", "accuracy"} <= rows[0].keys()


def test_a_broken_result_of_one_study_does_not_keep_the_others_from_the_page(capsys, out):
    assert said(capsys, *SMOKE, "--out", str(out))[0] == 0
    (out / "depth-classification").mkdir()
    (out / "depth-classification" / "result.nc").write_bytes(b"broken")
    status, _, _ = said(capsys, "report", str(out))
    assert status == 0
    assert "depth-classification is not on this page" in (out / "report.html").read_text()
    before = json.loads((out / "claims.json").read_text())
    (out / "depth-function" / "result.nc").write_bytes(b"broken")
    status, _, _ = said(capsys, "report", str(out))
    assert status == 0
    assert "rebuilt from the stored chunks" in (out / "report.html").read_text()
    assert json.loads((out / "claims.json").read_text()) == before
    assert [one.read_bytes() for one in (out / "damaged").iterdir()] == [b"broken"]


def test_several_studies_run_together_each_once_with_the_settings_that_it_has(capsys, out):
    line = ["run", "depth-function", "trajectory", "depth-function", "--preset", "smoke", "--plan", "--out", str(out)]
    status, words, _ = said(capsys, *line, "--functions", "-x", "--function", "sin", "--members", "3")
    assert status == 0
    assert "trajectory has no setting --functions and runs without it." in words
    assert "depth-function has no setting --function and runs without it." in words
    assert "Data: -x (-x on" in words
    assert "; sin (sin(x) on" in words
    plans = [line.partition(" networks")[0] for line in words.splitlines() if " networks, " in line]
    assert plans == ["depth-function: 9", "trajectory: 6"]


def test_a_setting_that_none_of_several_studies_has_is_refused(capsys, out):
    assert "option = --batch-sizes" in refused(
        capsys, "run", "depth-function", "trajectory", "--batch-sizes", "5", "--out", str(out)
    )


def test_all_mixed_with_names_is_every_study_once(capsys, out):
    status, words, _ = said(
        capsys, "run", "all", "capacity", "--preset", "smoke", "--data", "digits", "--plan", "--out", str(out)
    )
    assert status == 0
    assert "depth-function, trajectory, gradient-norm and minimal-ratio have no setting --data and run" in words
    assert words.count(" networks, ") == 9


def test_results_of_several_studies_are_on_one_page(capsys, out):
    short = ["--preset", "smoke", "--members", "1", "--samples", "20", "--epochs", "2", "--out", str(out)]
    status, _, _ = said(capsys, "run", "gradient-norm", "minimal-ratio", *short)
    assert status == 0
    assert set(json.loads((out / "provenance.json").read_text())) == {"gradient-norm", "minimal-ratio"}


PROGRAM = [sys.executable, "-m", "bathymetry.cli.main"]


@pytest.mark.parametrize("arguments", [["show", "depth-function"], ["data"]])
def test_an_output_without_other_than_ascii_characters_gets_replacements(arguments):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run([*PROGRAM, *arguments], env=environment, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"?" in ran.stdout
    assert ran.stdout.isascii()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        ran = subprocess.run([*PROGRAM, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == "bathymetry: the system refuses: No space left on device.\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    ],
)
def test_memory_that_runs_out_is_one_sentence(capsys, monkeypatch, error):
    def fail(arguments):
        raise error

    monkeypatch.setattr("bathymetry.cli.commands.list_", fail)
    assert "memory = less than this needs" in refused(capsys, "list")


def test_figures_under_a_limit_of_addresses_are_refused_before_the_process_would_end(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("mmap.mmap", refuse)
    check_addresses.cache_clear()
    with pytest.raises(StorageError, match="reserves 69 GB of addresses: lift the limit"):
        Figure("x", "x", (), "", "")._repr_svg_()


def test_words_that_would_steer_a_terminal_are_shown(capsys):
    say("a\x1b[2Jb\u202ec\nd")
    assert capsys.readouterr().out == "a\\x1b[2Jb\\u202ec\nd\n"


@pytest.mark.parametrize("kind", ["file", "file above", "long", "loop", "nowhere", "line break"])
def test_an_output_folder_that_can_not_be_one_is_refused_in_one_sentence(capsys, tmp_path, kind):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    place = {"file above": "file/out", "long": "x" * 300, "line break": "a\nb\x1b"}.get(kind, kind)
    for command in (
        [*SMOKE, "--out", str(tmp_path / place)],
        ["report", str(tmp_path / place)],
        ["export", str(tmp_path / place)],
    ):
        if kind == "line break" and command[0] == "run":
            continue  # a name as good as others
        refused(capsys, *command)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "loop", "nowhere"]


def test_a_second_process_waits_to_write_the_page_and_is_refused_if_that_takes_too_long(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("bathymetry.store.folder.WAITING", 0.1)
    with output_folder(tmp_path / "out") as folder, writing(folder):
        assert "another process has been writing into it" in refused(capsys, "report", str(folder))


def test_a_folder_that_was_deleted_while_worked_in_can_be_continued(tmp_path):
    with output_folder(tmp_path / "out") as folder:
        shutil.rmtree(folder)
        put(folder / "units" / "a", b"stored")
    with output_folder(tmp_path / "out") as folder:
        assert (folder / "units" / "a").read_bytes() == b"stored"


def test_results_of_a_later_version_are_reported_and_not_overwritten(capsys, out):
    write_results(out / "depth-function" / "result.nc", xr.DataTree(xr.Dataset()))
    later = xr.DataTree(xr.Dataset({"a": 1.0}))
    later.attrs = {"schema_version": 99, "study": '"depth-function"'}
    content = bytes(later.to_netcdf(engine="h5netcdf"))
    sealed = content + b"\nbathymetry digest " + digest(content).encode()
    (out / "depth-function" / "result.nc").write_bytes(sealed)
    (out / "bathymetry.json").write_text('{"format": 1}')
    assert "has schema 99, this version reads up to 2: update Bathymetry" in refused(capsys, "report", str(out))
    run_study("depth-function", preset="smoke", functions=("cos",), samples=20, epochs=1, members=1, out=out)
    assert [one.read_bytes() for one in (out / "damaged").iterdir()] == [sealed]


@pytest.mark.parametrize("widths", [["3,5"], ["3", "5"]])
def test_hidden_widths_are_given_as_the_help_shows_them_or_one_by_one(capsys, out, widths):
    line = ["run", "trajectory", "--preset", "smoke", "--plan", "--out", str(out)]
    status, words, _ = said(capsys, *line, "--network", *widths)
    assert status == 0
    assert "trajectory: 12 networks" in words
    assert "separate widths by commas, such as 3,5" in refused(capsys, *line, "--network", "3 5")


@pytest.mark.parametrize(
    ("broken", "what"),
    [('return r["loss"].sel(split="train").isel(epoch=-1)\n', "verdicts"), ("return dots(", "figures")],
)
def test_a_mistake_in_a_study_of_ones_own_is_reported_with_its_line_once_the_page_is_written(capsys, out, broken, what):
    source = (Path(__file__).parents[1] / "execution" / "own_study.py").read_text(encoding="utf-8")
    assert broken in source
    at = source.index(broken)
    own = out.parent / "mistaken_study.py"
    own.write_text(
        source[:at] + source[at:].replace(broken, broken.replace("loss", "absent").replace("dots", "dotz"), 1)
    )
    line = next(
        number for number, text in enumerate(own.read_text().splitlines(), 1) if "absent" in text or "dotz" in text
    )
    err = refused(capsys, "run", str(own), "--preset", "smoke", "--out", str(out))
    assert f"The {what} of own-width could not be made" in err
    assert f"in mistaken_study.py, line {line}" in err
    assert (out / "report.html").is_file()


def test_data_sets_are_listed_with_what_is_there(capsys, out):
    status, words, _ = said(capsys, "data", "list")
    assert status == 0
    assert re.search(r"^strokes +present ", words, re.MULTILINE)
    assert re.search(r"^mnist +missing ", words, re.MULTILINE)
    assert "--data PATH" in words


def test_a_terminal_has_a_bar_with_what_is_left(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    progress = TerminalProgress()
    progress.begin("depth-function", 4, 8.0)
    progress.advance("cos, deep", 6.0)
    progress.end()
    assert re.search(r"depth-function: cos, deep .*about 1 s left", capsys.readouterr().out)


def test_elsewhere_there_is_a_line_every_ten_seconds(capsys, monkeypatch):
    clock = iter([100.0, 105.0, 112.0, 113.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = TerminalProgress()
    progress.begin("depth-function", 4, 8.0)
    for seconds in (1.0, 6.0, 7.0):
        progress.advance("cos, deep", seconds)
    progress.end()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["depth-function: training 4 chunks", "depth-function: cos, deep, 75% done, about 4 s left"]
