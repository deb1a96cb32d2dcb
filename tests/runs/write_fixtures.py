"""Write the twenty runs of fixture.py with a real tool: python tests/runs/write_fixtures.py TOOL FOLDER.

tests/runs/files/TOOL holds what each tool wrote. The tools are those of requirements-runs.txt, which `make test-slow`
installs apart and uses to write the files anew.
"""

import itertools
import os
import shutil
import socket
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from runs import fixture

ARTIFACTS = "file:///artifacts"  # where MLflow's runs would put their files; otherwise below the folder


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


def small_pages(path):
    """Make an empty database whose pages are small, since a tool's many empty tables take a page each."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA page_size = 512")
        database.execute("VACUUM")


def mlflow_runs(uri):
    """Write the runs with MLflow's client; a deleted run, a failed one and one that still runs are there as well."""
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    client, order = MlflowClient(uri), itertools.count()
    experiment = client.create_experiment("optimizers", artifact_location=ARTIFACTS)

    def start(name, config=()):
        time = 1700000000000 + next(order)
        run = client.create_run(experiment, start_time=time, run_name=name, tags={"mlflow.user": "user"})
        client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in dict(config).items()])
        return run.info.run_id

    for name, config, metrics in fixture.runs():
        run = start(name, config)
        for tag, values in metrics.items():
            rows = zip(fixture.STEPS, values, strict=True)
            client.log_batch(run, [Metric(tag, value, 1700000000000 + step, step) for step, value in rows])
        client.set_terminated(run, "FINISHED", end_time=1700000001000)
    experiment = client.create_experiment("others", artifact_location=ARTIFACTS)
    running = start("running", {"größe": "2", "rate": "1e-3", "flag": True, "name": "007", "none": None, "text": "a b"})
    values = [float("nan"), float("inf"), float("-inf"), 1.5]
    client.log_batch(running, [Metric("Verlust/größe", one, 1700000000000 + k, k) for k, one in enumerate(values)])
    client.log_batch(running, [Metric("without steps", k / 2, 1700000000000 + k, 0) for k in range(3)])
    client.log_batch(running, tags=[RunTag("note", "Größe"), RunTag("fold", "3")])
    client.set_terminated(start("failed"), "FAILED", end_time=1700000001000)
    client.set_terminated(start("killed"), "KILLED", end_time=1700000001000)
    client.delete_run(start("deleted"))


def mlflow(folder):
    """MLflow's file store."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.store.tracking.file_store import FileStore

    FileStore(str(folder / "mlruns"), ARTIFACTS)
    mlflow_runs((folder / "mlruns").resolve().as_uri())


def mlflow_sqlite(folder):
    """MLflow's database."""
    small_pages(folder / "mlflow.db")
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{folder.resolve()}/mlflow.db", ARTIFACTS)
    mlflow_runs(f"sqlite:///{folder.resolve()}/mlflow.db")


def trackio(folder):
    """Trackio's database, and another with NaN, infinity, text, and nested settings."""
    os.environ["TRACKIO_DIR"] = str(folder.resolve())
    small_pages(folder / "optimizers.db")
    small_pages(folder / "others.db")
    import trackio

    def start(project, name, config):
        return trackio.init(project=project, name=name, config=config, embed=False, auto_log_gpu=False)

    for name, config, metrics in fixture.runs():
        start("optimizers", name, config)
        for k, step in enumerate(fixture.STEPS):
            trackio.log({tag: values[k] for tag, values in metrics.items()}, step=step)
        trackio.finish()
    start("others", "größe", {"optimizer": {"name": "adam", "lr": 0.1}, "layers": [4, 4], "flag": True, "none": None})
    for k, value in enumerate([float("nan"), float("inf"), float("-inf"), 1.5]):
        trackio.log({"Verlust/größe": value, "nested": {"one": k}, "comment": "text"}, step=k)
    trackio.log({"Verlust/größe": 2.5}, step=3)  # a step that is logged twice
    trackio.finish()
    for name in ("optimizers.lock", "others.lock"):
        (folder / name).unlink(missing_ok=True)


def trackio_parquet(folder):
    """What Trackio exports for the data set of a Space."""
    trackio(folder)
    from trackio.sqlite_storage import SQLiteStorage

    SQLiteStorage._dataset_import_attempted = True
    SQLiteStorage.export_to_parquet()
    for path in folder.glob("*.db*"):
        path.unlink()


def optuna_trials(storage):
    """Write the runs as trials of a study; others were pruned, failed, still run, wait, or have two objectives."""
    import optuna

    distributions = {
        "optimizer": optuna.distributions.CategoricalDistribution(fixture.OPTIMIZERS),
        "seed": optuna.distributions.IntDistribution(0, 9),
        "learning_rate": optuna.distributions.FloatDistribution(0.001, 1.0, log=True),
        "batch_size": optuna.distributions.CategoricalDistribution([16, 32]),
    }
    study = optuna.create_study(storage=storage, study_name="optimizers")
    for _, config, metrics in fixture.runs():
        study.enqueue_trial(config)
        trial = study.ask(distributions)
        for step, value in zip(fixture.STEPS, metrics["train/loss"], strict=True):
            trial.report(value, step)
        study.tell(trial, metrics["train/loss"][-1])
    others = optuna.create_study(storage=storage, study_name="Größe", directions=["minimize", "maximize"])
    trial = others.ask()
    trial.set_user_attr("fold", 3)
    trial.suggest_categorical("kind", [None, True, "a", 0.5])
    others.tell(trial, [float("inf"), 2.0])
    single = optuna.create_study(storage=storage, study_name="single")
    for state in (optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL, None):
        trial = single.ask()
        for step, value in enumerate([float("nan"), float("-inf"), 1.5]):
            trial.report(value, step)
        if state is not None:
            single.tell(trial, state=state)
    single.enqueue_trial({"x": 1})
    optuna.create_study(storage=storage, study_name="deleted")
    optuna.delete_study(study_name="deleted", storage=storage)


def optuna(folder):
    """Optuna's database and its journal."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    small_pages(folder / "study.db")
    optuna_trials(f"sqlite:///{folder.resolve()}/study.db")
    optuna_trials(optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.log"))))


def hydra(folder):
    """A multirun of Hydra's, whose program writes a table of its metrics."""
    import hydra
    from hydra.core.config_store import ConfigStore
    from hydra.core.hydra_config import HydraConfig

    rest = {"learning_rate": 0.01, "batch_size": 32, "rate": "${learning_rate}"}
    ConfigStore.instance().store("run", {"optimizer": "adam", "seed": 0, **rest})
    every = {(config["optimizer"], config["seed"]): metrics for _, config, metrics in fixture.runs()}

    @hydra.main(version_base="1.3", config_path=None, config_name="run")
    def main(config):
        metrics = every[config.optimizer, config.seed]
        rows = zip(fixture.STEPS, *metrics.values(), strict=True)
        text = "\n".join(",".join(map(str, row)) for row in [("step", *metrics), *rows])
        Path(HydraConfig.get().runtime.output_dir, "metrics.csv").write_text(f"{text}\n")

    sweep = f"hydra.sweep.dir={folder.resolve()}"
    logs = [f"hydra/{one}_logging=disabled" for one in ("job", "hydra")]
    sys.argv = ["main", "--multirun", "optimizer=adam,sgd", "seed=range(10)", sweep, *logs]
    main()
    for path in (*folder.glob("multirun.yaml"), *folder.glob("*/.hydra/hydra.yaml")):  # long, with paths and versions
        path.unlink()


def lightning(folder):
    """Lightning's `CSVLogger`: each metric in a row of its own, as from training and validation."""
    from pytorch_lightning.loggers import CSVLogger

    for _, config, metrics in fixture.runs():
        logger = CSVLogger(folder, name="logs")
        logger.log_hyperparams(config)
        for k, step in enumerate(fixture.STEPS):
            for metric, values in metrics.items():
                logger.log_metrics({metric: values[k]}, step=step)
        logger.finalize("success")


_OF_TOOLS = (
    hydra,
    lightning,
    mlflow,
    mlflow_sqlite,
    optuna,
    tensorboard,
    torch_tensorboard,
    trackio,
    trackio_parquet,
    wandb,
)
TOOLS = {one.__name__: one for one in _OF_TOOLS}

if __name__ == "__main__":
    socket.gethostname = lambda: "host"  # of which TensorBoard makes the names of its files
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    TOOLS[sys.argv[1]](Path(sys.argv[2]))
