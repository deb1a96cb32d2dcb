"""Job arrays that `--print` writes, read by the shell and by YAML's parser as Slurm and Kubernetes do."""

import os
import re
import shlex
import subprocess

import pytest
import yaml

from bathymetry.cli.main import main

SPEC = """
network: {depth: 1}
data: {function: sin, samples: 24}
training: {epochs: 3}
members: 6
axes:
  learning_rate: [1e-3, 1e-2]
  width: [3, 5]
"""

NET = """
from torch import nn


def build(inputs, outputs, depth, width):
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    folder = tmp_path / "a folder's"
    folder.mkdir()
    monkeypatch.chdir(folder)
    path = folder / "width-and-rate.yaml"
    path.write_text(SPEC, encoding="utf-8")
    return path


def printed(capsys, *words):
    status = main(list(words))
    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    return said.out


def called(script, index, name):
    """The arguments that a script calls the program with."""
    shown = script.replace("\nbathymetry ", "\nprintf '%s\\n' ").replace("&& bathymetry ", "&& printf '%s\\n' ")
    shown = re.sub(r"^bathymetry ", "printf '%s\\\\n' ", shown)
    environment = {**os.environ, name: str(index)}
    ran = subprocess.run(["bash", "-c", shown], env=environment, capture_output=True, text=True, check=True, cwd="/")
    return ran.stdout.splitlines()


def options(script):
    return dict(one.split("=", 1) for one in re.findall(r"^#SBATCH --(.*)$", script, re.MULTILINE))


def test_a_slurm_script_runs_from_any_folder_and_names_its_results(spec, capsys):
    out = spec.parent / "bathymetry-report"
    script = printed(capsys, "sweep", spec.name, "--print", "slurm", "--workers", "3")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert options(script) == {
        "job-name": "width-and-rate",
        "array": "1-3",
        "cpus-per-task": "1",
        "mem": "1G",
        "time": "00:10:00",
        "output": "width-and-rate-%A_%a.log",
    }
    assert script.index("set -e") < script.index("\ncd ") < script.index("\nbathymetry ")
    whole = ["sweep", str(spec), "--out", str(out)]
    assert called(script, 2, "SLURM_ARRAY_TASK_ID") == [*whole, "--workers", "1", "--shard", "2/3"]
    (line,) = [line for line in script.splitlines() if "dependency" in line]
    then = shlex.split(line.removeprefix("#"))
    assert then[:2] == ["sbatch", "--dependency=afterany:JOB"]  # also where a share has failures
    assert called(then[-1].removeprefix("--wrap="), 0, "NONE") == whole
    assert not out.exists()


def test_there_are_at_most_as_many_workers_as_chunks(spec, capsys):
    many = printed(capsys, "sweep", spec.name, "--print", "slurm", "--workers", "40")
    assert options(many)["array"] == "1-4"
    assert "# 4 tasks train 4 chunks, each a fixed share; " in many
    assert options(printed(capsys, "sweep", spec.name, "--print", "slurm"))["array"] == "1-4"
    some = printed(capsys, "sweep", spec.name, "--print", "slurm", "--where", "width=3")
    assert options(some)["array"] == "1-2"
    assert "--where width=3" in some


def job_of(text):
    """The one Job of a file, with the fields that batch/v1 requires of an Indexed Job."""
    (job,) = yaml.safe_load_all(text)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", job["metadata"]["name"])
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 4
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # which backoffLimitPerIndex and podFailurePolicy need
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailIndex", [1, 2])  # no retry of what failed
    (worker,) = pod["containers"]
    assert worker["resources"]["limits"]["memory"] == worker["resources"]["requests"]["memory"] == "1Gi"
    volumes = {one["name"]: one for one in pod["volumes"]}
    mounts = {one["name"]: one for one in worker["volumeMounts"]}
    assert list(volumes) == list(mounts)
    return worker, volumes, mounts


def test_kubernetes_pods_write_to_a_mounted_volume(spec, capsys):
    worker, volumes, mounts = job_of(
        printed(capsys, "sweep", spec.name, "--print", "kubernetes", "--out", "/data/run1")
    )
    assert volumes["results"]["persistentVolumeClaim"] == {"claimName": "CLAIM"}
    assert mounts["results"]["mountPath"] == "/data/run1"
    whole = ["sweep", f"{mounts['files']['mountPath']}/width-and-rate.yaml", "--out", "/data/run1"]
    (script,) = worker["args"]
    for index in (0, 3):  # Kubernetes counts from 0
        share = ["--workers", "1", "--shard", f"{index + 1}/4"]
        assert called(script, index, "JOB_COMPLETION_INDEX") == [*whole, *share]


def test_kubernetes_pods_write_to_an_address_with_a_secret_that_printing_does_not_need(spec, capsys, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing listens
    text = printed(capsys, "sweep", spec.name, "--print", "kubernetes", "--out", "s3://bucket/run1")
    worker, volumes, _ = job_of(text)
    assert list(volumes) == ["files"]
    assert worker["envFrom"] == [{"secretRef": {"name": "width-and-rate-credentials"}}]
    assert "create secret generic width-and-rate-credentials --from-literal=AWS_ACCESS_KEY_ID=" in text
    assert f"#   bathymetry sweep {shlex.quote(str(spec))} --out s3://bucket/run1  # on any machine\n" in text


def test_files_that_a_specification_names_are_in_the_config_map_or_are_to_be_mounted(spec, capsys):
    spec.with_name("net.py").write_text(NET, encoding="utf-8")
    (spec.parent / "sub").mkdir()
    (spec.parent / "sub" / "other.py").write_text(NET, encoding="utf-8")
    for family in ("net.py:build", "sub/other.py:build"):
        network = f"{{family: '{family}', depth: 1}}"
        spec.write_text(SPEC.replace("{depth: 1}", network).replace("width: [3, 5]", "width: [3]"), encoding="utf-8")
        text = printed(capsys, "sweep", spec.name, "--print", "kubernetes", "--out", "/data/run1")
        (line,) = [one for one in text.splitlines() if "create configmap" in one]
        files = [str(spec), str(spec.with_name("net.py"))][: 2 if family.startswith("net") else 1]
        assert shlex.split(line.removeprefix("#"))[4:] == [f"--from-file={one}" for one in files]
        mounted = f"mount {spec.parent}/sub/other.py, which the specification names, as /files/sub/other.py"
        assert (mounted in text) == family.startswith("sub")


def test_a_study_has_a_job_array_too_with_its_settings(spec, capsys):
    words = ["run", "depth-function", "--preset", "smoke", "--functions", "-x", "cos", "--members", "30"]
    script = printed(capsys, *words, "--print", "slurm")
    share = called(script, 1, "SLURM_ARRAY_TASK_ID")
    assert share == [
        *("run", "depth-function", "--preset", "smoke", "--members", "30", "--functions", "-x", "cos"),
        *("--out", str(spec.parent / "bathymetry-report"), "--workers", "1", "--shard", "1/10"),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--print", "kubernetes"], "out = bathymetry-report: it is lost when a worker ends; expected an address"),
        (["--print", "slurm", "--out", "memory://x"], "out = memory://x: it is lost when a worker ends; expected an"),
        (["--print", "slurm", "--shard", "1/2"], "print = slurm: expected --print or --shard, not both."),
        (["--print", "slurm", "--plan"], "print = slurm: expected --print or --plan, not both."),
        (["--plan", "--open"], "--open: with --plan no page is written; leave one of the two out."),
        (["--print", "slurm", "--open"], "--open: with --print no page is written; leave one of the two out."),
        (["--shard", "1/2", "--open"], "--open: with --shard no page is written; leave one of the two out."),
        (["--print", "pbs"], "print = pbs: expected slurm or kubernetes."),
    ],
)
def test_what_no_job_array_can_be_is_refused(spec, capsys, words, sentence):
    for command in (["sweep", spec.name], ["run", "depth-function", "--preset", "smoke"]):
        assert main([*command, *words]) == 2
        assert sentence in capsys.readouterr().err
