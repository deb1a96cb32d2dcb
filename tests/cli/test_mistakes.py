"""Mistakes at the keyboard: each is answered with one sentence and status 2, before anything is written."""

import shlex
import subprocess
import sys

import pytest

from bathymetry.cli.main import main

MISTAKES = {
    # the command
    "frobnicate": "command = frobnicate: expected list, show, run",
    "runn all": "did you mean run?",
    "depth-function": "to run it: bathymetry run depth-function",
    "all": "to run it: bathymetry run all",
    "--versoin": "did you mean --version?",
    "''": "command = ''",
    # the study
    "run depth_function": "did you mean depth-function?",
    "run Depth-Functoin": "did you mean depth-function?",
    "run ''": "study = '': expected one of",
    "run cos": "study = cos: expected one of depth-function",
    "run trajectory,capacity": "several are separate arguments: trajectory capacity",
    "run 'trajectory capacity'": "several are separate arguments: trajectory capacity",
    "run all nothing": "study = nothing",
    "run depth-function capacitty": "did you mean capacity?",
    "run depth-function --preset quick trajectory": "name all studies before the first option",
    "run --preset quick depth-function": "study: missing before --preset; for example bathymetry run capacity",
    "run missing.py": "there is no such file",
    "run folder.py": "it is not a file",
    "run mine": "expected the file's whole name, mine.py",
    "run mine.py": "expected one subclass of bathymetry.Study, found 0",
    "run unclosed.py": "SyntaxError",
    "run leaves.py": "the file can't be run (SystemExit: 3)",
    "run one.py two.py": "one.py is called own too",
    "show depth_function": "did you mean depth-function?",
    "show": "study: missing; for example bathymetry show capacity.",
    "show depth-function trajectory": "show takes one argument, STUDY; trajectory is one too many.",
    "list depth-function": "list takes no arguments.",
    "show --all": "option = --all: show takes no options.",
    # options
    "run depth-function --epoch 3": "did you mean --epochs?",
    "run depth-function -epochs 3": "did you mean --epochs?",
    "run depth-function --Learning_Rate 3": "did you mean --learning-rate?",
    "run depth-function --images 500": "option = --images: expected --preset, --out",
    "run depth-function trajectory --functoins cos": "did you mean --functions?",
    "run depth-function -n 3": "option = -n",
    "run depth-function -- --epochs 3": "option = --",
    "run depth-function --plan yes": "--plan takes no value.",
    "run depth-function --plan=yes": "--plan takes no value.",
    "run depth-function --preset": "--preset: a value is missing; expected full, quick or smoke.",
    "run depth-function --preset Quick": "did you mean quick?",
    "run all --preset quikc": "did you mean quick?",
    "run depth-function --preset quick --preset huge": "preset = huge: expected full, quick or smoke.",
    "run depth-function --preset quick --preset full": "--preset: expected only once.",
    "run depth-function --functions cos --functions sin": "--functions: expected only once, with all values after it",
    "run depth-function --out ''": "out = '': expected the path of a folder",
    "run depth-function --out file.txt": "this is a file",
    "run depth-function --out file.txt/below": "file.txt/below",
    # values
    "run depth-function --functions": "--functions: a value is missing.",
    "run depth-function --seed=": "--seed: a value is missing.",
    "run depth-function --functions coss": "“coss” is not known; did you mean cos?\n",
    "run depth-function --functions ''": "functions = ",
    "run depth-function --functions 'sin(x'": "functions = sin(x",
    "run depth-function --functions y": "functions = y",
    "run depth-function --functions cos cos": "name each only once",
    "run depth-function --networks '10 18 15 4'": "10 18 15 4: separate widths by commas, such as 10,18,15,4",
    "run batch-size --network 99999999999999999999": "network = 99999999999999999999: expected at most 100,000",
    "run depth-function --networks 784-30-10": "expected the hidden widths only, separated by commas, such as 30.",
    "run gradient-norm --network 5,10,5 3": "network = 5,10,5 3: expected one network, such as 5,10,5.",
    "run gradient-norm --network 1,5,1": "network = 1,5,1: expected the hidden widths only, such as 5.",
    "run capacity --networks 2,5 4,8": "networks = 2,5 4,8: expected at least 5 networks.",
    "run batch-size --batch-sizes 5": "batch_sizes = 5: expected at least 2 batch sizes.",
    "run batch-size --batch-sizes 5 1501 --data digits": "batch_sizes = 1501: expected at most 1,500, the number of",
    "run capacity --few-examples 2000 --data digits": "few_examples = 2000: expected at most 1,500, the number of",
    "run random-labels --images 2000 --data digits": "images = 2000: expected at most 1,500, the number of",
    "run depth-function --networks 10,a": "networks = ",
    "run depth-function --networks ''": "networks = ",
    "run depth-function --members 0": "members = 0: expected a whole number, at least 1",
    "run depth-function --members -1": "members = -1: expected a whole number, at least 1",
    "run depth-function --members 1e9": "members = 1e9: expected a whole number",
    "run depth-function --members 1000000000": "members = 1000000000: expected at most 100,000",
    "run trajectory --members 1000000000": "members = 1000000000: expected at most 100,000",
    "run minimal-ratio --members 1000000000": "members = 1000000000: expected at most 100,000",
    "run capacity --few-members 1000000000": "few_members = 1000000000: expected at most 100,000",
    "run random-labels --memorisation-members 1000000000": "members = 1000000000: expected at most 100,000",
    "run depth-function --members abc": "members = abc: expected a whole number",
    "run depth-function --members 6 7": "members = 6 7: expected one value",
    "run depth-function --members=6 7": "members = 6 7: expected one value",
    "run depth-function --members": "--members: a value is missing.",
    "run depth-function --seed -1": "seed = -1: expected at least 0",
    "run depth-function --seed 1.5": "seed = 1.5: expected a whole number",
    "run depth-function --seed ' '": "seed = '': expected a whole number",
    "run depth-function --data-seed -1": "data_seed = -1: expected at least 0",
    "run depth-function --epochs 1e3": "epochs = 1e3: expected a whole number",
    "run depth-function --epochs 0": "epochs = 0: expected a whole number, at least 1",
    "run depth-function --learning-rate nan": "learning_rate = nan: expected a finite number",
    "run depth-function --learning-rate 0,001": "learning_rate = 0,001: expected a number",
    "run depth-function --low 5 --high 5": "low = 5: expected less than high, 5.",
    "run depth-function --samples 0": "samples = 0: expected a whole number, at least 1",
    "run depth-function --device gpu": "device = gpu: expected cpu or cuda.",
    "run depth-classification --data missing": "data = missing",
    "run depth-classification --data empty": "data = empty",
    "run depth-classification --data mnst": "data = mnst",
    "run depth-classification --data ''": "data = ",
    "run capacity --data digits --label-noise 2": "label_noise = 2.0: expected shares from 0 to 1",
    # folders and data
    "report": "folder = bathymetry-report: there is no such folder.",
    "report depth-function": "that is a study; expected an output folder",
    "report empty": "folder = empty: expected an output folder, one that `bathymetry run` wrote.",
    "report empty another": "report takes one argument, DIR; another is one too many.",
    "export": "folder: missing; for example bathymetry export bathymetry-report.",
    "export empty": "folder = empty",
    "export empty --format xlsx": "format = xlsx: expected csv or parquet.",
    "export empty --format": "--format: a value is missing; expected csv or parquet.",
    "export empty --fromat csv": "did you mean --format?",
    "export nowhere": "folder = nowhere: there is no such folder.",
    "predict rates.yaml": "study = rates.yaml: predictions are about the claims of a study; those of a sweep have none",
    "sweep rates.yaml --predict mine": "option = --predict: predictions are about the claims of a study",
    "sweep rates.yaml --preset full": "option = --preset: presets are of studies, and a sweep has none",
    "sweep rates.yaml --out memory://x": "out = memory://x: it is lost when the command ends; expected a folder, or an",
    "run depth-function --out memory://x --plan": "out = memory://x: it is lost when the command ends",
    "merge anna ben --out memory://x": "out = memory://x: it is lost when the command ends",
    "compare x --metric y --lower-is-better --compare z --members w --out memory://x": "out = memory://x: it is lost",
    "data mnist": "to download it: bathymetry data fetch mnist",
    "data fetch": "name: missing; for example bathymetry data fetch mnist.",
    "data all": "action = all: expected list or fetch.",
    "data list mnist": "data list takes no name; mnist is one too many.",
    "data fetch mnist kmnist": "data takes at most 2 arguments, ACTION and NAME; kmnist is one too many.",
    "data fetch mnst": "data = mnst: did you mean mnist? expected one of mnist",
}
STUDY_FILE = """
import bathymetry as bm

class Own(bm.Study):
    "?"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BATHYMETRY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "mine.py": "", "unclosed.py": "x = (", "leaves.py": "raise SystemExit(3)", "file.txt": "mine",
        "one.py": STUDY_FILE, "two.py": STUDY_FILE,
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    for name in ("empty", "folder.py"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_answered_with_one_sentence_and_status_2(folder, capsys, line):
    before = sorted(folder.iterdir())
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr()
    assert said.err.startswith("bathymetry: ")
    assert MISTAKES[line] in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    assert "---" not in said.err
    assert [path for path in sorted(folder.iterdir()) if path.name not in ("cache", "__pycache__")] == before


@pytest.mark.parametrize("plan", [[], ["--plan"]])
def test_cuda_without_a_gpu_is_refused_before_anything_is_planned_or_written(folder, capsys, monkeypatch, plan):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["run", "depth-function", "--preset", "smoke", "--device", "cuda", *plan]) == 2
    assert (
        capsys.readouterr().err == "bathymetry: device = cuda: this machine has no usable CUDA device; expected cpu.\n"
    )
    assert not (folder / "bathymetry-report").exists()


def test_an_interruption_of_a_download_is_one_sentence(folder, capsys, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("bathymetry.data.fetch", interrupted)
    assert main(["data", "fetch", "mnist"]) == 130
    assert capsys.readouterr().err.startswith("\nInterrupted")


def test_output_into_a_closed_pipe_does_not_end_a_run(tmp_path):
    command = [sys.executable, "-m", "bathymetry.cli.main", "run", "gradient-norm", "--preset", "smoke"]
    short = ["--members", "2", "--epochs", "2", "--samples", "20", "--out", str(tmp_path / "out")]
    with subprocess.Popen([*command, *short], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (0, "")
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("option", ["--workers", "--local-cluster", "--members", "--seed", "--max-memory", "--shard"])
def test_a_number_of_thousands_of_digits_is_one_sentence(option, capsys):
    digits = "1/" * (option == "--shard") + "9" * 5000
    assert main(["run", "gradient-norm", "--preset", "smoke", "--plan", option, digits]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"bathymetry: {option.removeprefix('--').replace('-', '_')} = ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("size", "remedy"),
    [("8", "8: expected a unit too: 8GB or 8MB"), ("1KB", "1KB: expected an amount of memory such as 8GB")],
)
def test_memory_without_its_unit_is_refused(capsys, tmp_path, size, remedy):
    assert main(["run", "gradient-norm", "--max-memory", size, "--out", str(tmp_path / "out")]) == 2
    assert f"max_memory = {remedy}" in capsys.readouterr().err
