"""Specifications that make no sweep: one sentence and status 2, before anything is written."""

import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError
from bathymetry.sweeps.reading import read_file, sweep_of

RATES = "axes: {learning_rate: [0.1, 0.2]}\n"
CLAIM = "axes: {{learning_rate: [0.1, 0.2]}}\nclaims: [{{rule: {}, text: a, variable: test loss, {}}}]"
REFUSED = {
    # fields
    "axess: {learning_rate: [0.1]}": "axess = {'learning_rate': [0.1]}: there is no such field; did you mean axes?",
    RATES + "training: {learningrate: 1}": "training.learningrate = 1: there is no such field; did you mean learning_",
    RATES + "training: adam": "training = adam: expected fields by name: optimizer",
    RATES + "members: 0": "members = 0: expected a whole number, at least 1.",
    RATES + "members: many": "members = many: expected a whole number.",
    RATES + "name: ../x": "name = ../x: expected letters",
    RATES + "name: capacity": "name = capacity: that name is taken",
    RATES + "measure: [gradientnorm]": "measure = gradientnorm: did you mean gradient_norm?",
    RATES + "training: {optimizer: adamm}": "training.optimizer = adamm: did you mean adam?",
    RATES + "training: {momentum: 0.9}": "training.momentum = 0.9: adam has none",
    RATES + "training: {optimizer: RMSprop, options: {alpa: 0.9}}": "training.options.alpa = 0.9: torch.optim.RMSprop",
    RATES + "training: {label_noise: 0.1}": "training.label_noise = 0.1: the targets of these data are values",
    RATES
    + "training: {epochs: 3, steps: 3}": "training.steps = 3: expected training.steps or training.epochs, not both",
    RATES + "data: {name: mnits}": "data.name = mnits: did you mean mnist?",
    RATES + "data: {name: digits, low: 3}": "data.low = 3.0: only data given by function take it",
    RATES + "data: {function: sin(y)}": "data.function = sin(y)",
    RATES + "network: {family: cnn}": "network.family = cnn: expected mlp, or FILE.py:FUNCTION",
    # axes
    "members: 3": "axes = None: expected at least one field",
    "axes: {}": "axes = {}: expected at least one field",
    "axes: {learning_rate: []}": "axes.learning_rate = []: expected at least one value",
    "axes: {learning_rat: [0.1]}": "axes.learning_rat = [0.1]: there is no such field; did you mean learning_rate?",
    "axes: {learning_rate: [0.1, 1e-1]}": "axes.learning_rate = [0.1, 0.1]: 0.1 is listed twice",
    "axes: {learning_rate: [-0.1]}": "axes.learning_rate = -0.1: expected a number above 0",
    "axes: {learning_rate: [fast]}": "axes.learning_rate = fast: expected a number",
    "axes: {learning_rate: [null]}": "axes.learning_rate = None: expected a value",
    "axes: {members: [3]}": "axes.members = [3]: it is the same for the whole sweep",
    RATES + "training: {learning_rate: 0.1}": "learning_rate is both an axis and fixed under training",
    "axes: {seed: [1, 2]}\nseed: 3": "axes.seed = [1, 2]: seed is both an axis and fixed",
    "axes: {learning_rate: [0.1], training.learning_rate: [0.2]}": "they are the same field",
    "axes: {width: [3]}\nnetwork: {hidden: [3, 4]}": "3: expected network.width or network.hidden, not both",
    "axes: {batch_size: [50, 5000]}\ndata: {name: digits}": "batch_size = 5000: expected at most 1,500",
    # points
    "axes: {learning_rate: [0.1, 0.2], width: [3]}\nsample: zip": "learning_rate has 2, width has 1; expected as many",
    RATES + "sample: {random: 0}": "sample.random = 0: expected a whole number, at least 1",
    RATES + "sample: {random: 10000000}": "sample.random = 10,000,000 points: expected at most 100,000",
    "axes: {seed: {low: 0, high: 99999, count: 10000}, width: {low: 1, high: 2000, count: 1000}}": "10,000,000 points",
    RATES + "sample: gird": "sample = gird: expected grid, zip, {random: NUMBER} or {sobol: NUMBER}",
    "axes: {learning_rate: {low: 1, high: 0.1}}\nsample: {random: 3}": "axes.learning_rate.low = 1: expected less than",
    "axes: {width: {low: 0, high: 9, scale: log}}\nsample: {sobol: 3}": "axes.width.low = 0: expected a number above 0",
    "axes: {width: {low: 1, high: .nan}}\nsample: {sobol: 3}": "axes.width.high = nan: expected a finite number",
    "axes: {learning_rate: {low: 0.1, high: 1}}": "a grid needs to know how many values; add count",
    "axes: {width: {low: 1, high: 3, count: 9}}": "axes.width.count = 9: only 3 whole numbers lie there",
    "axes: {optimizer: {low: 1, high: 3}}\nsample: {random: 3}": "axes.optimizer = 1: expected text",
    # claims
    RATES + "claims: [{rule: mean}]": "claims[1].rule = mean: expected majority",
    RATES + "claims: 3": "claims = 3: expected a list",
    CLAIM.format(
        "mean_sign", "over: width, direction: below"
    ): 'claims[1].over = width: width is not an axis of this grid; expected learning_rate (or "log learning_rate")',
    CLAIM.format("mean_sign", "over: learning_rate, direction: down"): "claims[1].direction = down: expected below",
    CLAIM.format("stochastic_order", "along: learning_rate, first: 1, second: 0.1, direction: below"): "first = 1",
    CLAIM.format("majority", "above: 1, below: 2"): "claims[1].above = 1: expected above or below, one of them",
    CLAIM.format("mean_in_interval", "lo: 1"): "mean_in_interval takes no such field; did you mean low?",
    RATES + "claims: [{rule: majority, text: a, variable: test los, above: 1}]": "did you mean test loss?",
    # paths
    RATES + "network: {family: ../../x.py:build}": "expected a path inside the folder of the specification",
    RATES + "network: {family: /etc/x.py:build}": "expected a path inside the folder of the specification",
    RATES + "network: {family: x.py:build}": "x.py: there is no such file",
    RATES + "data: {name: ../x.npz}": "expected a path inside the folder of the specification",
    RATES + "data: {name: x.npz}": "x.npz: there is no such file",
    # YAML
    "- 1\n- 2": "it holds a list; expected fields by name",
    "": "it holds nothing",
    "network: !!python/object/apply:os.system ['touch pwned']": "the tag !!python/object/apply:os.system",
    "axes: !foo {}": "the tag !foo; expected plain texts, numbers and lists",
    "members: 3\nmembers: 4": "members: this field is there twice",
    "a: &a [1]\nb: *a": "*a: expected values written out, no aliases",
    "axes: {learning_rate: [0.1": "it is not valid YAML (line 1: ",
    "[" * 5000: "it is nested too deeply",
    "members: " + "9" * 5000: "it can't be read",
    "? [1, 2]\n: 3": "unhashable key",
    "\0": "it can't be read",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=[str(place) for place in range(len(REFUSED))])
def test_a_specification_is_refused_in_one_sentence(tmp_path, capsys, monkeypatch, text, expected):
    monkeypatch.chdir(tmp_path)
    spec = tmp_path / "spec.yaml"
    spec.write_text(text, encoding="utf-8")
    assert main(["sweep", str(spec), "--out", str(tmp_path / "out")]) == 2
    words = capsys.readouterr().err.strip()
    assert expected in words
    assert len(words.splitlines()) == 1
    assert sorted(one.name for one in tmp_path.iterdir()) == ["spec.yaml"]


@pytest.mark.parametrize(
    ("option", "expected"),
    {
        "--where training.rate=1": "where = training.rate=1: did you mean training.learning_rate?",
        "--members 3": "option = --members: it is a field of the specification; write it into spec.yaml.",
        "--learning-rate=0.1 3": "option = --learning-rate: it is a field of the specification",
        "--where rate=1": "where = rate=1: expected learning_rate",
        "--where learning_rate=3": "no point has this value; expected one of 0.1, 0.2",
        "--where learning_rate": "expected AXIS=VALUE",
        "--shard 41/40": "shard = 41/40",
        "--shard 0/40": "shard = 0/40",
        "--workers 0": "workers = 0",
        "--rerun all": "rerun = all: expected failed",
        "--print pbs": "print = pbs: expected slurm or kubernetes",
        "--out ''": "out = '': expected the path of a folder",
    }.items(),
)
def test_an_option_is_refused_in_one_sentence(tmp_path, capsys, option, expected):
    spec = tmp_path / "spec.yaml"
    spec.write_text(RATES, encoding="utf-8")
    name, value = option.split(" ")
    out = [] if name == "--out" else ["--out", str(tmp_path / "out")]
    assert main(["sweep", str(spec), name, value.strip("'"), *out]) == 2
    assert expected in capsys.readouterr().err
    assert [one.name for one in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_number_in_powers_of_ten_is_one_without_a_point_too(tmp_path):
    spec = tmp_path / "rates.yaml"
    spec.write_text("axes: {learning_rate: [1e-3, 1.0e-2, .1]}", encoding="utf-8")
    made = read_file(spec)
    assert [point.coordinates for point in made.points] == [{"learning_rate": rate} for rate in (1e-3, 1e-2, 0.1)]
    assert made.name == "rates"


def test_fields_that_are_given_twice_are_those_of_the_call(tmp_path):
    spec = tmp_path / "rates.yaml"
    spec.write_text(RATES + "members: 7", encoding="utf-8")
    run = bm.sweep(spec, members=3, run=False, out=tmp_path / "out")
    assert run.dataset.sizes["member"] == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("given", [3, None, [], {1: 2}, {"axes": 3}, {"axes": {"width": "3"}}])
def test_fields_in_python_are_refused_in_one_sentence(given, unchecked):
    with pytest.raises(InputError):
        sweep_of(given)


def test_where_takes_the_whole_name_of_an_axis_too(tmp_path, capsys):
    spec = tmp_path / "spec.yaml"
    spec.write_text(RATES + "data: {samples: 8}", encoding="utf-8")
    for name in ("learning_rate", "training.learning_rate"):
        assert main(["sweep", str(spec), "--where", f"{name}=0.1", "--plan", "--out", str(tmp_path / "out")]) == 0
        assert "1 chunk to train" in capsys.readouterr().out


def test_progress_must_have_the_methods_of_progress(tmp_path):
    for run in (bm.sweep, bm.run_study):
        study = {"axes": {"learning_rate": [0.1]}} if run is bm.sweep else "depth-function"
        with pytest.raises(InputError, match=r"^progress = .*expected an instance of a subclass of bathymetry\.exec"):
            run(study, progress=print, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
