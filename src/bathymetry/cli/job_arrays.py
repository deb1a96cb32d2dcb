"""Job arrays for Slurm and Kubernetes, whose workers each take a fixed share of a run's chunks.

Slurm: https://slurm.schedmd.com/sbatch.html. Kubernetes: an Indexed Job of batch/v1, whose index counts from 0.
"""

import math
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from bathymetry.cli.parsing import UsageError
from bathymetry.cli.terminal import counted, duration
from bathymetry.core.errors import InputError
from bathymetry.core.showing import printable

if TYPE_CHECKING:  # so that the help need not wait for PyTorch
    from bathymetry.execution.work import Work
    from bathymetry.studies import Study
    from bathymetry.studies.base import PlannedEnsemble

KINDS = ("slurm", "kubernetes")
WORKERS = 10  # unless --workers says; at most one for each chunk
_ALONE = ("plan", "shard", "scheduler", "local_cluster")  # options that go without
_PASSED_ON = ("max_memory", "rerun")
_LEAST_MINUTES = 10
_FILES = "/files"  # where pods see the specification
_FINAL = {"containerName": "worker", "operator": "In", "values": [1, 2]}  # something failed three times, or was refused

_SLURM = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{workers}
#SBATCH --cpus-per-task=1
#SBATCH --mem={gigabytes}G
#SBATCH --time={time}
#SBATCH --output={name}-%A_%a.log
# {shares}; {out} must be the same for all of them.
# The time is three times the estimate, at least {least} minutes. A share in which something failed ends with status 1.
# When the array, JOB, has ended, whatever failed:
#   sbatch --dependency=afterany:JOB --mem={gigabytes}G --time={time} --wrap={wrapped}
set -e
# Tasks have the environment that sbatch is called in; for another: source /path/to/venv/bin/activate
cd {folder}
{command} --workers 1 --shard "$SLURM_ARRAY_TASK_ID/{workers}"
"""


def check_print(command: Any) -> None:
    """Refuse another kind of script, options that do not go together, and a folder that would be lost."""
    without_page = [one for one in ("plan", "print", "shard") if getattr(command, one) not in (None, False)]
    if command.open and without_page:
        raise UsageError(f"--open: with --{without_page[0]} no page is written; leave one of the two out.")
    if command.print not in (None, *KINDS):
        raise InputError("print", command.print, "expected slurm or kubernetes")
    others = [one for one in _ALONE if getattr(command, one) not in (None, False)]
    if command.print is not None and others:
        raise InputError("print", command.print, f"expected --print or --{others[0].replace('_', '-')}, not both")
    out, is_pod = command.out.strip().removeprefix("file://"), command.print == "kubernetes"
    is_relative = "://" not in out and not Path(out).is_absolute()
    if command.print is not None and (out.startswith("memory:") or (is_pod and is_relative)):
        volume = ", or a volume's path such as /data/run1" if is_pod else ""
        remedy = f"it is lost when a worker ends; expected an address such as s3://bucket/run1{volume}"
        raise InputError("out", command.out, remedy)


def print_array(
    command: Any,
    studies: "Sequence[Study]",
    words: Sequence[str | Path],
    workers: int,
    where: "Callable[[PlannedEnsemble], bool] | None" = None,
    named: Sequence[Path] = (),
) -> None:
    """Print the job array of a command; its output folder, whose credentials may be elsewhere, is not opened.

    `words` are the command, files among them as paths; `named` are files that those files name.
    """
    from bathymetry.execution.work import compare

    given = {f"--{name.replace('_', '-')}": getattr(command, name) for name in _PASSED_ON}
    passed_on = [word for option, text in given.items() if text for word in (option, text.strip())]
    with TemporaryDirectory() as nothing:  # shares are the same, whatever is stored
        works = [compare(Path(nothing), study.planned).only(where) for study in studies]
    chunks = sum(len(work.todo) for work in works)
    workers = min(workers if command.workers is not None else WORKERS, chunks)
    name = studies[0].name if len(studies) == 1 else "studies"
    num_bytes = max(work.bytes for work in works)
    seconds = _seconds_of_a_share(works, workers)
    shares, out = (workers, chunks), command.out.strip().removeprefix("file://")
    print(script(command.print, name, [*words, *passed_on], out, shares, seconds, num_bytes, named), end="")


def _seconds_of_a_share(works: "Sequence[Work]", workers: int) -> float:
    """About how long a worker computes: as measured, and for measurements as they say."""
    from bathymetry.execution.calibration import calibrate

    chunks = [seconds for work in works for seconds in calibrate(work).chunks]
    measuring = sum(work.measuring_seconds for work in works)
    return max(sum(chunks) / workers, *chunks) + measuring / workers


def script(
    kind: str,
    name: str,
    words: Sequence[str | Path],
    out: str,
    shares: tuple[int, int],
    seconds: float,
    num_bytes: int,
    named: Sequence[Path] = (),
) -> str:
    """Write the script of an array of workers.

    `words` are the command without its output folder, files among them as paths; `shares` are how many workers and
    chunks there are, `seconds` how long a worker computes.
    """
    out = printable(out if "://" in out else str(Path(out).expanduser().absolute()), allowed="")
    name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "bathymetry"
    gigabytes = max(1, math.ceil(1.5 * num_bytes / 1e9))
    if kind == "slurm":
        return _slurm(name, words, out, shares, gigabytes, seconds)
    return _kubernetes(name, words, out, shares, gigabytes, seconds, named)


def _slurm(
    name: str, words: Sequence[str | Path], out: str, shares: tuple[int, int], gigabytes: int, seconds: float
) -> str:
    command = _command(words, out)
    folder = shlex.quote(printable(str(Path.cwd()), allowed=""))
    minutes = max(_LEAST_MINUTES, math.ceil(3 * seconds / 60))
    return _SLURM.format(
        name=name,
        workers=shares[0],
        shares=_shared("task", shares),
        gigabytes=gigabytes,
        time=f"{minutes // 60:02}:{minutes % 60:02}:00",
        least=_LEAST_MINUTES,
        out=out,
        folder=folder,
        command=command,
        wrapped=shlex.quote(f"cd {folder} && {command}"),
    )


def _kubernetes(
    name: str,
    words: Sequence[str | Path],
    out: str,
    shares: tuple[int, int],
    gigabytes: int,
    seconds: float,
    named: Sequence[Path],
) -> str:
    files = [one.absolute() for one in words if isinstance(one, Path)]
    inside = [f"{_FILES}/{one.name}" if isinstance(one, Path) else one for one in words]
    share = f'{_command(inside, out)} --workers 1 --shard "$((JOB_COMPLETION_INDEX + 1))/{shares[0]}"'
    memory = f"{gigabytes}Gi"
    worker: dict[str, Any] = {
        "name": "worker",
        "image": "IMAGE",
        "command": ["/bin/sh", "-c"],
        "args": [share],
        "resources": {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
    }
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": [worker]}
    todo = ["IMAGE: one with Bathymetry, and with the data unless they come with it"]
    mounts, volumes = [], []
    if files:
        home = files[0].resolve().parent  # as paths in a specification are completed
        code = [one for one in dict.fromkeys(named) if one.parent == home and one.suffix == ".py"]
        from_files = " ".join(f"--from-file={shlex.quote(printable(str(one), allowed=''))}" for one in [*files, *code])
        todo.append(f"kubectl create configmap {name}-files {from_files}")
        for one in dict.fromkeys(named):
            if one not in code:
                inside_pod = PurePath(_FILES, one.relative_to(home))
                todo.append(f"mount {printable(str(one), allowed='')}, which the specification names, as {inside_pod}")
        mounts.append({"name": "files", "mountPath": _FILES, "readOnly": True})
        volumes.append({"name": "files", "configMap": {"name": f"{name}-files"}})
    if "://" in out:
        worker["envFrom"] = [{"secretRef": {"name": f"{name}-credentials"}}]
        keys = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"
        literals = " ".join(f"--from-literal={one}=…" for one in (keys if out.startswith("s3:") else ("VARIABLE",)))
        todo.append(f"kubectl create secret generic {name}-credentials {literals}")
        after = f"{_command(words, out)}  # on any machine"
    else:
        todo.append(f"CLAIM: a persistent volume claim with access mode ReadWriteMany, which pods see as {out}")
        mounts.append({"name": "results", "mountPath": out, "subPath": PurePath(out).name or name})
        volumes.append({"name": "results", "persistentVolumeClaim": {"claimName": "CLAIM"}})
        after = "this Job under another name, with completions and parallelism 1 and without --shard"
    if mounts:
        worker["volumeMounts"], pod["volumes"] = mounts, volumes
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completionMode": "Indexed",
            "completions": shares[0],
            "parallelism": shares[0],
            "backoffLimitPerIndex": 2,
            "podFailurePolicy": {"rules": [{"action": "FailIndex", "onExitCodes": _FINAL}]},
            "template": {"spec": pod},
        },
    }
    head = [
        f"{_shared('pod', shares)}, for about {duration(seconds)}. Failed networks, status 1, are not tried again.",
        "Before:",
        *(f"  {one}" for one in todo),
        "When all have ended, for the results and the page:",
        f"  {after}",
    ]
    text: str = yaml.safe_dump(job, sort_keys=False, allow_unicode=True, width=10_000)
    return "".join(f"# {one}\n" for one in head) + text


def _shared(worker: str, shares: tuple[int, int]) -> str:
    """How many workers there are, and for how many chunks."""
    workers, chunks = shares
    each = "" if workers == 1 else ", each a fixed share"
    return f"{counted(workers, worker)} train{'s' if workers == 1 else ''} {counted(chunks, 'chunk')}{each}"


def _command(words: Sequence[str | Path], out: str) -> str:
    whole = [str(one.absolute()) if isinstance(one, Path) else one for one in words]
    return shlex.join([*(printable(one, allowed="") for one in ("bathymetry", *whole, "--out", out))])
