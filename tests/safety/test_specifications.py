"""Specifications of sweeps and options of runs: hostile files, fields, addresses and numbers."""

import os

import pytest
import yaml
from hypothesis import strategies as st

from bathymetry.cli.parsing import UsageError
from bathymetry.sweeps.reading import read_file
from safety.test_settings import HOSTILE, TYPED, answer

BASE = {
    "network": {"hidden": [3], "activation": "tanh"},
    "data": {"function": "sin", "samples": 8},
    "training": {"optimizer": "sgd", "learning_rate": 0.1, "steps": 2},
    "members": 2,
    "axes": {"learning_rate": [0.1, 0.2], "seed": [1, 2]},
    "claims": [{"rule": "majority", "variable": "test loss", "below": 1.0, "text": "It falls."}],
}
SECTIONS = {
    "network": "family hidden width depth parameters activation heads",
    "data": "name train_examples test_examples function low high samples",
    "training": "optimizer learning_rate weight_decay momentum beta1 eps options batch_size epochs steps loss schedule "
    "clip_norm label_noise dtype",
    "axes": "learning_rate width hidden network.depth training.steps data.samples seed label_noise family name loss",
    "claims": "text rule variable over direction along first second candidates others above below low high with "
    "decides",
}
RULES = ["median_sign", "stochastic_order", "best_of", "majority", "median_in_interval", "correlation", "exists"]
RANGES = [{"low": 1, "high": 10**7, "count": 10**7}, {"low": 0, "high": 1, "scale": "log", "count": 3}, {"low": 1e-3}]
SCALARS = st.one_of(
    st.sampled_from([*HOSTILE, "mlp", "adam", "LBFGS", "../x.py:f", "x.py:f", "log test loss", "full", *RULES]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.binary(max_size=4),
    st.sampled_from([0, 1, 2, 3, 0.1, 10**7, 2**63, -1, 1e-300, float("inf")]),
)
VALUES = st.recursive(
    SCALARS | st.sampled_from(RANGES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
TAGS = "!!binary aGk=; !!set {a}; !!timestamp 1; !<x> 1; members: !!int 1_0; axes: !!omap [a: 1]"
TEXTS = "2001-99-99; 1:2:3:4:5:6; =; - - - -; '; # only; 1e999999; {{}: 1}; <<: {members: 1}; a: &a [*a]; *a"
LINES = ["a: &a [1]\nb: *a", "? [1]\n: 2", "%YAML 9.9\n---\n1", "---\na: 1\n---\nb: 2", "a: 1\na: 2", "|9\n a", "a:\tb"]
LONG = ["[" * 2000, "{a: " * 2000, "0x" + "f" * 5000, "9" * 5000, "members: " + "9" * 5000]
BYTES = ["\ufeff", "\t", "\x00", '"\\xd8"', '"\\ud800"']
PYTHON = ["!!python/object/apply:os.system ['id']", "!!python/name:os.system", "members: !!python/tuple [1]"]
NOT_FIELDS = [*TAGS.split("; "), *TEXTS.split("; "), *LINES, *LONG, *BYTES, *PYTHON]


@st.composite
def fields(draw):
    """The fields of a specification, a few of which are exchanged, left out or added."""
    spec = {name: dict(one) if isinstance(one, dict) else one for name, one in BASE.items()}
    for _ in range(draw(st.integers(1, 3))):
        section = draw(st.sampled_from([*SECTIONS, "whole"]))
        if section == "whole":
            spec[draw(st.sampled_from([*BASE, "name", "sample", "measure", "record", "device", "x"]))] = draw(VALUES)
            continue
        name, value = draw(st.sampled_from(SECTIONS[section].split())), draw(VALUES)
        if section == "claims":
            spec["claims"] = [{**BASE["claims"][0], "rule": draw(st.sampled_from(RULES)), name: value}]
        elif isinstance(spec.get(section), dict):
            spec[section] = {**spec[section], name: value}
    for name in draw(st.lists(st.sampled_from(list(BASE)), max_size=1)):
        spec.pop(name, None)
    return spec


@st.composite
def files(draw):
    """The bytes of a specification: fields as YAML, with bytes exchanged, or something else."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(NOT_FIELDS).map(str.encode) | st.binary(max_size=60))
    try:
        content = bytearray(yaml.safe_dump(draw(fields()), allow_unicode=True).encode("utf-8", "surrogatepass"))
    except yaml.YAMLError:
        return b""
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 3))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"*a", b"!!x ", b"\n"])
        )
    return bytes(content)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("BATHYMETRY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text("raise SystemExit('a file that is only named is not run')\n")
    return tmp_path


def test_specifications(fuzz, folder):
    """Specifications of sweeps with hostile fields and YAML."""

    def attempt(content):
        (folder / "spec.yaml").write_bytes(content)
        made = read_file(folder / "spec.yaml")
        assert made.specification.num_points <= 100_000

    fuzz(files(), attempt, writes=folder)


FLAGS = "workers max-memory shard rerun where print local-cluster scheduler out"
OPTIONS = [f"--{one}" for one in FLAGS.split()]
NUMBERS = "0 1 2 -1 1.5 1e9 8GB 0B 1e400GB nanGB 1/3 3/1 0/3 41/40 1/0 1/1e9 ¼ failed done slurm kubernetes"
POINTS = "learning_rate=0.1 learning_rate= = seed=3 seed=1 x=1"
ADDRESSES = """tcp:// tcp://h tcp://127.0.0.1:99999 udp://127.0.0.1:1 memory://x memory:// file:///etc zzz://x https://h/x
    local://x filecache://x simplecache::memory://x x.py x.py/out /dev/null/x"""
WORDS = [*NUMBERS.split(), *POINTS.split(), *ADDRESSES.split(), "8 GB", "9" * 400, "\0", "a\nb"]


@st.composite
def commands(draw):
    """A command line that plans a sweep or a study, with options typed in every way."""
    what = draw(st.sampled_from([["sweep", "spec.yaml"], ["run", "depth-function", "--preset", "smoke"]]))
    words = [*what, "--plan"]
    for option in draw(st.lists(st.sampled_from(OPTIONS), min_size=1, max_size=3)):
        value = draw(st.sampled_from(WORDS) | TYPED)
        words += draw(st.sampled_from([[option, value], [f"{option}={value}"], [option]]))
    return words


def test_options(fuzz, folder):
    """Options of runs and sweeps: workers, memory, shards, addresses and points, typed in every way."""
    (folder / "spec.yaml").write_text(yaml.safe_dump(BASE))

    def attempt(words):
        before = {*os.listdir(folder), "cache"}
        said = answer(words)
        assert {*os.listdir(folder), "cache"} == before
        if said:
            raise UsageError(said)

    fuzz.most_seconds = 15  # with a short calibration
    fuzz(commands(), attempt, writes=folder)
