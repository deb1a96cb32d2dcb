"""Scripts for job arrays, whose workers each take a fixed share of a sweep's chunks."""

import shlex
from pathlib import Path

from bathymetry.core.showing import printable

_SLURM = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{workers}
#SBATCH --cpus-per-task=1
#SBATCH --mem={megabytes}M
# Each task takes its share of the chunks; {out} must be the same folder for all of them.
# Afterwards, once: {command}
{command} --workers 1 --shard "$SLURM_ARRAY_TASK_ID/{workers}"
"""

_KUBERNETES = """\
# Each pod takes its share of the chunks; {out} must be the same volume or address for all of them.
# Afterwards, once: {command}
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
spec:
  completionMode: Indexed
  completions: {workers}
  parallelism: {workers}
  backoffLimitPerIndex: 2
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: worker
          image: IMAGE  # one with Bathymetry and the specification
          command: ["/bin/sh", "-c"]
          args:  # the index counts from 0, shares from 1
            - {shell}
          resources:
            requests: {{cpu: "1", memory: {megabytes}Mi}}
"""
KINDS = {"slurm": _SLURM, "kubernetes": _KUBERNETES}


def script(kind: str, name: str, spec: Path, out: str, workers: int, num_bytes: int) -> str:
    """Write the script of an array of workers."""
    out = printable(out, allowed="")
    command = shlex.join(["bathymetry", "sweep", printable(str(spec), allowed=""), "--out", out])
    share = f'{command} --workers 1 --shard "$((JOB_COMPLETION_INDEX + 1))/{workers}"'
    return KINDS[kind].format(
        name="".join(one if one.isalnum() else "-" for one in name.lower()).strip("-")[:50],
        workers=workers,
        megabytes=-(-num_bytes * 5 // 4 // 1_000_000),
        out=out,
        command=command,
        shell="'" + share.replace("'", "''") + "'",
    )
