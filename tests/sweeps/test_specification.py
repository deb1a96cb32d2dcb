"""Specifications that make no sweep: one sentence and status 2, before anything is written."""

import dataclasses
import inspect
import re
import sys

import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.cli.sweep import _command as sweep_command
from bathymetry.core.errors import InputError
from bathymetry.sweeps.reading import read_file, sweep_of

RATES = "axes: {learning_rate: [0.1, 0.2]}\n"
RMSPROP = "training: {{optimizer: RMSprop, options: {{{}}}}}"
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
    "axes: {data_seed: [1, 2]}\ndata_seed: 3": "axes.data_seed = [1, 2]: data_seed is both an axis and fixed",
    "axes: {data_seed: [-1]}": "axes.data_seed = -1: expected",
    "axes: {width: [3]}\nnetwork: {hidden: [3, 4]}": "axes.width = 3: expected network.width or network.h",
    "axes: {batch_size: [50, 5000]}\ndata: {name: digits}": "batch_size = 5000: expected at most 1,500",
    # fields with options of their own, and options that can't be
    RATES
    + RMSPROP.format("lr: 5"): "training.options.lr = 5: it has a field of its own; write training.learning_rate.",
    RATES + RMSPROP.format("weight_decay: 1"): "training.options.weight_decay = 1: it has a field of its own",
    RATES + RMSPROP.format("momentum: 0.1"): "training.options.momentum = 0.1: it has a field of its own",
    RATES + "training: {optimizer: NAdam, options: {betas: [0.9, 0.99]}}": "write training.beta1 and training.beta2",
    RATES + RMSPROP.format("alpha: -5"): "training.options.alpha = -5: torch.optim.RMSprop refuses it (Invalid alpha",
    RATES + RMSPROP.format("alpha: high"): "training.options.alpha = high: torch.optim.RMSprop refuses it",
    RATES
    + "training: {optimizer: RMSprop, momentum: 0.9, options: {capturable: true}}": "training.options.capturable = ",
    "axes: {options: [{alpha: 0.5}, {alpha: -5}]}\ntraining: {optimizer: RMSprop}": "axes.options.alpha = -5: torch.",
    RATES + "training: {optimizer: Adafactor, eps: 0.1}": "training.eps = 0.1: torch.optim.Adafactor refuses it",
    RATES + "training: {options: 5}": "training.options = 5: expected values by name.",
    RATES
    + "training: {optimizer: SparseAdam}": "training.optimizer = SparseAdam: it can't train these networks (Sparse",
    RATES
    + "training: {optimizer: Muon}": "training.optimizer = Muon: it can't train these networks (Muon only supports",
    "axes: {optimizer: [adam, SparseAdam]}": "axes.optimizer = SparseAdam: it can't train",
    # what an axis has is named by the axis, in the words of the specification
    "axes: {loss: [huber]}": "axes.loss = huber: expected mse or cross_entropy.",
    "axes: {loss: [mse, cross_entropy]}": "axes.loss = cross_entropy: the targets of sin are values; expected mse.",
    "axes: {training.loss: [mse]}\ndata: {name: digits}": "axes.training.loss = mse: the targets of digits are classes",
    RATES + "training: {loss: mse}\ndata: {name: digits}": "training.loss = mse: the targets of digits are classes",
    "axes: {batch_size: [17]}\ndata: {samples: 16}": "axes.batch_size = 17: expected at most 16",
    RATES + "data: {samples: 16}\ntraining: {batch_size: 17}": "training.batch_size = 17: expected at most 16",
    "axes: {parameters: [1]}": "axes.parameters = 1: expected at least 6",
    RATES + "network: {parameters: 1}": "network.parameters = 1: expected at least 6",
    "axes: {momentum: [0.9]}": "axes.momentum = 0.9: adam has none",
    "axes: {low: [20]}": "axes.low = 20.0: expected less than high, 10.",
    "axes: {function: [sin, sni]}": "axes.function = sni: ",
    "axes: {epochs: [1e16]}": "axes.epochs = 10000000000000000: expected at most 1,000,000,000,000,000.",
    "axes: {width: [100000]}\nnetwork: {depth: 1000}": "axes.width = 100000: networks of 9,990,100,200,001 parameters",
    # examples
    "axes: {train_examples: [1437, 3000]}\ndata: {name: digits}": "axes.train_examples = 3000: expected at most 1,500",
    "axes: {test_examples: {low: 9, high: 999, count: 2}}\ndata: {name: digits}": "axes.test_examples = 999: expected",
    RATES
    + "data: {name: digits, test_examples: 298}": "data.test_examples = 298: expected at most 297, as many as digits",
    RATES + "data: {function: ''}": "data.function = '': expected text, such as sin or sin(3*x).",
    RATES + "data: {name: ' '}": "data.name = ' ': expected text, such as digits.",
    "axes: {function: [sin, '']}": "axes.function = '': expected text",
    # limits
    RATES + "training: {epochs: 1e12}\nrecord: all": "record = all: 1,000,000,000,000 epochs of all networks take",
    RATES + f"name: {'a' * 82}": "expected letters, digits, dots, - and _, at most 81, the first a letter or digit",
    RATES + "name: .nc": "name = .nc: expected letters, digits, dots, - and _",
    "axes: {seed: [1e+30]}": "expected at most 9,223,372,036,854,775,807.",
    "axes: {width: [1e+30]}": "expected at most 100,000.",
    "axes: {width: {low: 1, high: 64, scale: log, count: 50}}": "on a log scale they reach 32 of the 64 whole numbers",
    "axes: {learning_rate: {low: -1e308, high: 1e308, count: 3}}": "axes.learning_rate = -1e+308 to 1e+308: expected",
    "axes: {width: {low: -1e300, high: 3, count: 3}}": "axes.width = -1e+300: expected",
    RATES + "folder: /tmp": "folder = /tmp: a file has no such field",
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
    RATES + "claims: [{rule: mean}]": "claim a.rule = mean: expected majority",
    CLAIM.format("mean_sign", "over: learning_rate, direction: below"): "claim a.rule = mean_sign: this rule is now "
    "called median_sign; write that",
    CLAIM.format("order", "along: learning_rate"): "claim a.rule = order: this rule is now called stochastic_order",
    RATES + "claims: 3": "claims = 3: expected a list",
    CLAIM.format(
        "median_sign", "over: width, direction: below"
    ): 'claim a.over = width: width is not an axis of this grid; expected learning_rate (or "log learning_rate")',
    CLAIM.format("median_sign", "over: learning_rate, direction: down"): "claim a.direction = down: expected below",
    CLAIM.format("stochastic_order", "along: learning_rate, first: 1, second: 0.1, direction: below"): "first = 1",
    CLAIM.format("majority", "above: 1, below: 2"): "claim a.above = 1: expected above or below, one of them",
    CLAIM.format("median_in_interval", "lo: 1"): "median_in_interval takes no such field; did you mean low?",
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


@pytest.mark.parametrize("command", ["sweep absent.yaml", "run capacity --data absent"])
@pytest.mark.parametrize("plan", [[], ["--plan"]])
@pytest.mark.parametrize(
    ("options", "expected"),
    {
        "--local-cluster 2": 'local_cluster = 2: distributed is not installed; .*: pip install "\\.\\[dask\\]"',
        "--scheduler tcp://h:1": "scheduler = tcp://h:1: distributed is not installed",
        "--scheduler tcp://h:1 --local-cluster 2": "local_cluster = 2: expected local_cluster or scheduler, not both",
        "--local-cluster 2 --workers 2": "workers = 2: a cluster has workers of its own",
        "--out memory://x --workers 2": "out = memory://x: it is lost when the command ends; expected a folder, or an",
        "--out memory://x --local-cluster 2": "out = memory://x: it is lost",
    }.items(),
)
def test_options_that_can_not_be_are_refused_before_specification_and_data_are_looked_for(
    tmp_path, capsys, monkeypatch, command, plan, options, expected
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*command.split(), *options.split(), *plan]) == 2
    said = capsys.readouterr()
    assert re.search(expected, said.err)
    assert said.out == ""
    assert [*tmp_path.iterdir()] == []


def test_every_option_of_the_command_is_an_argument_or_refused_by_its_name():
    own = {one.name for one in dataclasses.fields(sweep_command())} - {"spec"}
    arguments = inspect.signature(bm.sweep).parameters.keys()
    assert own - arguments == {"plan", "shard", "rerun", "print", "open"}
    for name in own - arguments:
        sentence = f"^{name} = x: only the command `bathymetry sweep` has it; bm.sweep takes out, run, where, workers"
        with pytest.raises(InputError, match=sentence):
            bm.sweep(axes={"width": [2, 3]}, **{name: "x"})


def test_a_number_in_powers_of_ten_is_one_without_a_point_too(tmp_path):
    spec = tmp_path / "rates.yaml"
    spec.write_text("axes: {learning_rate: [1e-3, 1.0e-2, .1]}", encoding="utf-8")
    made = read_file(spec)
    assert [point.coordinates for point in made.points] == [{"learning_rate": rate} for rate in (1e-3, 1e-2, 0.1)]
    assert made.name == "rates"


def test_a_whole_number_may_be_written_in_powers_of_ten(tmp_path):
    spec = tmp_path / "seeds.yaml"
    spec.write_text("axes: {seed: [1e3], width: {low: 1e0, high: 1e1, count: 1e1}}", encoding="utf-8")
    made = read_file(spec)
    assert [point.values["seed"] for point in made.points] == [1000] * 10
    assert [point.values["network.width"] for point in made.points] == list(range(1, 11))


def test_a_name_has_the_letters_and_length_that_the_sentence_says(tmp_path):
    for name in ("result.nc", "a" * 81, "0-._"):
        assert sweep_of({"name": name, "axes": {"width": [3]}}).name == name
    spec = tmp_path / f"{'long' * 60}.yaml"
    spec.write_text(RATES, encoding="utf-8")
    assert len(read_file(spec).name) == 81


def test_beta1_and_beta2_are_the_betas_of_a_class_of_pytorch():
    training = {"optimizer": "NAdam", "learning_rate": 0.1, "beta2": 0.99}
    made = sweep_of({"training": training, "axes": {"width": [3]}, "data": {"samples": 8}})
    (planned,) = made.planned.ensembles
    assert planned.config.optimizer.keywords == {"lr": 0.1, "betas": (0.9, 0.99)}


def test_a_plan_of_many_epochs_says_how_many_years_it_takes(tmp_path, capsys):
    spec = tmp_path / "long.yaml"
    spec.write_text(RATES + "training: {epochs: 1e12}\nmembers: 2\ndata: {samples: 8}", encoding="utf-8")
    assert main(["sweep", str(spec), "--out", str(tmp_path / "out"), "--plan"]) == 0
    assert re.search(r"about [\d,]+ years", capsys.readouterr().out)


def test_fields_that_are_given_twice_are_those_of_the_call(tmp_path):
    spec = tmp_path / "rates.yaml"
    spec.write_text(RATES + "members: 7", encoding="utf-8")
    run = bm.sweep(spec, members=3, run=False, out=tmp_path)
    assert run.dataset.sizes["member"] == 3
    assert [*tmp_path.iterdir()] == [spec]


@pytest.mark.parametrize("given", [3, None, [], {1: 2}, {"axes": 3}, {"axes": {"width": "3"}}])
def test_fields_in_python_are_refused_in_one_sentence(given, unchecked):
    with pytest.raises(InputError):
        sweep_of(given)


def test_where_takes_the_whole_name_of_an_axis_too(tmp_path, capsys):
    spec = tmp_path / "spec.yaml"
    spec.write_text(RATES + "data: {samples: 8}", encoding="utf-8")
    for name in ("learning_rate", "training.learning_rate"):
        assert main(["sweep", str(spec), "--where", f"{name}=0.1", "--plan", "--out", str(tmp_path / "out")]) == 0
        assert "10 networks to train in 1 chunk" in capsys.readouterr().out


def test_progress_must_have_the_methods_of_progress(tmp_path):
    for run in (bm.sweep, bm.run_study):
        study = {"axes": {"learning_rate": [0.1]}} if run is bm.sweep else "depth-function"
        with pytest.raises(InputError, match=r"^progress = .*expected an instance of a subclass of bathymetry\.exec"):
            run(study, progress=print, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
