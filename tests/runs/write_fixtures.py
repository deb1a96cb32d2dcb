"""Write the twenty runs of fixture.py with a real tool: python tests/runs/write_fixtures.py TOOL FOLDER.

tests/runs/files/TOOL holds what each tool wrote. The tools are those of requirements-runs.txt, which `make test-slow`
installs apart and uses to write the files anew.
"""

import shutil
import socket
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from runs import fixture


def tensorboard(folder):
    """TensorBoard's own writer: scalars as `simple_value`, and the settings and the end by the hparams plugin."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from torch.utils.tensorboard.summary import hparams

    for name, config, metrics in fixture.runs():
        writer = EventFileWriter(str(folder / name))

        def write(summary, step=0, writer=writer):
            writer.add_event(Event(wall_time=1700000000.0 + step, step=step, summary=summary))

        _, start, end = hparams(config, dict.fromkeys(metrics, 0.0))
        write(start)
        for k, step in enumerate(fixture.STEPS):
            values = [Summary.Value(tag=tag, simple_value=values[k]) for tag, values in metrics.items()]
            write(Summary(value=values[:1]), step)
            write(Summary(value=values[1:]), step)
        write(end, 100)
        writer.close()


def torch_tensorboard(folder):
    """PyTorch's `SummaryWriter`: scalars as tensors, and the settings by `add_hparams`, in a folder of their own."""
    from torch.utils.tensorboard import SummaryWriter

    for name, config, metrics in list(fixture.runs())[::5]:
        with SummaryWriter(folder / name) as writer:
            for tag, values in metrics.items():
                for step, value in zip(fixture.STEPS, values, strict=True):
                    writer.add_scalar(tag, value, step, new_style=True)
            writer.add_text("comment", "Größe", 0)
            writer.add_hparams(config, {"final/accuracy": metrics["val/accuracy"][-1]})


def wandb(folder):
    """Weights & Biases without a network: one folder for each run."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    for name, config, metrics in fixture.runs():
        settings = wandb.Settings(
            mode="offline", console="off", disable_git=True, save_code=False, silent=True, x_disable_stats=True,
            x_disable_meta=True, host="host", run_id=name,
        )  # fmt: skip
        with wandb.init(dir=folder, project="fixture", name=name, config=config, settings=settings) as run:
            for k, step in enumerate(fixture.STEPS):
                run.log({metric: values[k] for metric, values in metrics.items()}, step=step)
    for path in list(folder.glob("wandb/*")):  # links, logs and a list of the installed packages
        if path.is_symlink():
            path.unlink()
        else:
            for rest in ("files", "logs", "tmp"):
                shutil.rmtree(path / rest, ignore_errors=True)


TOOLS = {one.__name__: one for one in (tensorboard, torch_tensorboard, wandb)}

if __name__ == "__main__":
    socket.gethostname = lambda: "host"  # of which TensorBoard makes the names of its files
    TOOLS[sys.argv[1]](Path(sys.argv[2]))
