"""Folders of other tools come from clusters that kill what writes them, and from strangers."""

import pytest
from hypothesis import strategies as st

from bathymetry.runs import settings
from bathymetry.runs.files import read_unit
from bathymetry.runs.readers import hydra, lightning, tensorboard, wandb, wandb_csv
from bathymetry.runs.run import Layout
from runs import event_files, log_files
from runs.reading import FILES, read
from safety.test_data_files import damaged

YAML = "seed: 3\noptimizer: {name: adam, betas: [0.9, 0.999]}\nx: &a {y: !!python/tuple [1, 2]}\nz: *a\n"


def test_event_files(fuzz, tmp_path):
    """TensorBoard's event files with damage, or with damage under right checksums."""
    path = tmp_path / "events.out.tfevents.1.host"
    whole = next((FILES / "torch_tensorboard" / "adam-0").glob("*tfevents*")).read_bytes()
    hparams = next((FILES / "torch_tensorboard" / "adam-0").glob("*/*tfevents*")).read_bytes()
    contents = [content for file in (whole, hparams) for content in records(file)]
    sealed = st.lists(st.sampled_from(contents).flatmap(damaged), max_size=6).map(
        lambda many: b"".join(event_files.record(one) for one in many)
    )

    def attempt(content):
        path.write_bytes(content)
        for run in read(tensorboard.FORMAT, tmp_path):
            assert all(len(one.step) == len(one.value) for one in run.metrics.values())

    fuzz(damaged(whole) | damaged(hparams) | sealed, attempt, writes=tmp_path)


def records(file):
    """The contents of the records of a whole file."""
    at = 0
    while at < len(file):
        length = int.from_bytes(file[at : at + 8], "little")
        yield file[at + 12 : at + 12 + length]
        at += length + 16


@pytest.mark.parametrize("name", ["hparams.yaml", "config.json"])
def test_settings_of_runs(fuzz, tmp_path, name):
    """Settings of a run in YAML and JSON with damage."""
    path = tmp_path / name
    text = YAML if name.endswith("yaml") else '{"seed": 3, "optimizer": {"name": "adam", "betas": [0.9, 0.999]}}'

    def attempt(content):
        path.write_bytes(content)
        settings.from_file(path)

    fuzz(damaged(text.encode()) | st.text().map(str.encode), attempt, writes=tmp_path)


def test_logs_of_wandb(fuzz, tmp_path):
    """Logs of W&B with damage, or with damage under right checksums."""
    whole = next((FILES / "wandb").rglob("*adam-0.wandb")).read_bytes()
    contents = [one for one in wandb._contents(whole) if one is not None]
    sealed = st.lists(st.sampled_from(contents).flatmap(damaged), max_size=6).map(lambda many: log_files.log(*many))

    def attempt(content):
        (tmp_path / "run-abc.wandb").write_bytes(content)
        for run in read(wandb.FORMAT, tmp_path):
            assert all(len(one.step) == len(one.value) for one in run.metrics.values())

    fuzz(damaged(whole) | sealed, attempt, writes=tmp_path)


def test_tables_of_lightning(fuzz, tmp_path):
    """Tables of Lightning's CSVLogger with damage."""
    whole = (FILES / "lightning" / "logs" / "version_0" / "metrics.csv").read_bytes()[:300]
    (tmp_path / "version_0").mkdir()

    def attempt(content):
        (tmp_path / "version_0" / "metrics.csv").write_bytes(content)
        for run in read(lightning.FORMAT, tmp_path):
            assert all(len(one.step) == len(one.value) for one in run.metrics.values())

    fuzz(damaged(whole) | st.text().map(str.encode), attempt, writes=tmp_path)


def test_output_folders_of_hydra(fuzz, tmp_path):
    """Settings and tables in output folders of Hydra with damage."""
    (tmp_path / ".hydra").mkdir()
    config, table = YAML.encode() + b"w: ${seed}\n", (FILES / "hydra" / "0" / "metrics.csv").read_bytes()[:200]
    cases = st.tuples(damaged(config) | st.just(config), damaged(table) | st.just(table))

    def attempt(case):
        (tmp_path / ".hydra" / "config.yaml").write_bytes(case[0])
        (tmp_path / "metrics.csv").write_bytes(case[1])
        for unit in hydra.FORMAT.units(tmp_path, [tmp_path / ".hydra" / "config.yaml", tmp_path / "metrics.csv"]):
            read_unit(hydra.FORMAT, unit, Layout())

    fuzz(cases, attempt, writes=tmp_path)


def test_exports_of_wandb(fuzz, tmp_path):
    """Exported charts and tables of W&B with damage."""
    chart = b'"Step","a - loss","a - loss__MIN","a - loss__MAX"\n"0","1.5","1.5","1.5"\n"10","NaN","",""\n'
    table = (
        b'"Name","State","User","Created","seed","loss"\n"a","finished","u","1","1","0.5"\n"b","killed","","","2",""\n'
    )
    cases = st.tuples(damaged(chart) | st.just(chart), damaged(table) | st.just(table))

    def attempt(case):
        for name, content in zip(("chart.csv", "table.csv"), case, strict=True):
            (tmp_path / name).write_bytes(content)
        for unit in wandb_csv.FORMAT.units(tmp_path, [tmp_path / "chart.csv", tmp_path / "table.csv"]):
            read_unit(wandb_csv.FORMAT, unit, Layout())

    fuzz(cases, attempt, writes=tmp_path)
