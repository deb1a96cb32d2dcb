"""Claims over runs: hostile sentences, fields and files of YAML."""

import pandas as pd
import pytest
import yaml
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.runs.claims import read_claims
from bathymetry.runs.sentences import read_sentence, written
from bathymetry.store.yaml_files import read_yaml
from safety.test_specifications import NOT_FIELDS, VALUES

WORDS = """optimizer = adam sgd , lr seed loss acc < > above below reaches reach by step 2 at last best step:1 in most
all runs one of each on rises falls with log lies between and 0.5 correlate positively negatively some or "a b" " nan
1e999 größe x 3 mean:last-10% - . true"""
SENTENCES = [
    "optimizer=adam reaches loss < 0.5 by step 2 in most runs",
    "adam above sgd on acc at step:1",
    "one of adam above each of sgd on loss",
    "loss falls with log lr in optimizer=adam",
    "acc of optimizer=adam lies between 0 and 1",
    "loss and acc correlate positively",
    "some lr reaches loss < 0.5 in all runs",
]
FIELDS = """rule metric text where at higher_is_better above below by_step along first second candidates others
direction over low high with x"""
RUNS = pd.DataFrame(
    [
        {"optimizer": name, "lr": lr, "seed": seed, "step": step, "loss": seed / step * lr, "acc": seed - step}
        for name in ("adam", "sgd")
        for lr in (0.1, 0.2)
        for seed in range(2)
        for step in (1, 2)
    ]
)


@st.composite
def sentences(draw):
    """A sentence of the grammar in which a few words are exchanged, left out or added."""
    words = draw(st.sampled_from(SENTENCES)).replace("=", " = ").split()
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(words)))
        words[place : place + draw(st.integers(0, 2))] = draw(st.lists(st.sampled_from(WORDS.split()), max_size=2))
    return " ".join(words)


@st.composite
def fields(draw):
    """The fields of a claim, a few of which are exchanged, left out or added."""
    made = dict(read_sentence(draw(st.sampled_from(SENTENCES)), "claims[1]"))
    for _ in range(draw(st.integers(1, 3))):
        made[draw(st.sampled_from(FIELDS.split()))] = draw(VALUES | st.sampled_from(["acc", "loss", "lr", "best", 0.5]))
    return made


def decide(claim):
    found = bm.compare(RUNS, by=["optimizer", "lr"], claims=[claim])
    assert all(one.finding.endswith(".") for one in found.claims)


def test_sentences(fuzz, tmp_path):
    """Claims over runs as sentences with exchanged words, and as any text."""
    fuzz(sentences() | st.text(max_size=60), decide, writes=tmp_path)


def test_fields(fuzz, tmp_path):
    """Claims over runs with hostile fields."""
    fuzz(fields() | VALUES, decide, writes=tmp_path)


def test_files(fuzz, tmp_path):
    """Files of claims over runs, of hostile YAML."""
    path = tmp_path / "claims.yaml"

    def attempt(content):
        path.write_bytes(content)
        for claim in read_claims(read_yaml(path, "claims")):
            assert claim.text

    plain = st.lists(sentences() | fields(), max_size=3).map(
        lambda claims: yaml.safe_dump(claims, allow_unicode=True).encode("utf-8", "surrogatepass")
    )
    hostile = st.sampled_from(NOT_FIELDS).map(lambda text: f"- {text}".encode()) | st.binary(max_size=60)
    fuzz(plain | hostile, attempt, writes=tmp_path)


NAMES = st.text(min_size=1, max_size=8).filter(lambda one: '"' not in one)


@pytest.mark.parametrize("rule", ["stochastic_order", "majority", "median_sign"])
def test_any_names_are_written_and_read_back(fuzz, tmp_path, rule):
    """Names of any letters in claims over runs, written as sentences and read back."""

    def attempt(names):
        metric, along, first, second = names
        claim = {"rule": rule, "metric": metric}
        if rule == "stochastic_order":
            claim |= {"along": along, "first": first, "second": second, "direction": "above"}
        elif rule == "majority":
            claim |= {"below": 0.5, "where": {along: first}}
        else:
            claim |= {"over": along, "direction": "below"}
        assert read_sentence(written(claim), "claims[1]") == claim

    fuzz(st.tuples(NAMES, NAMES, NAMES, NAMES), attempt, writes=tmp_path)
