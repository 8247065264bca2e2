"""Files from others: no pickle, no code without being asked, no path out of a workdir, no markup in a report."""

import ast
import json
import re

import keras
import numpy as np
import pytest
from conftest import ROOT
from study import fabricated

from tfjc.runs import configuration
from tfjc.saving import loading
from tfjc.study import _html, _plan, _report

SOURCES = sorted([*(ROOT / "tfjc").rglob("*.py"), *(ROOT / "tools").rglob("*.py")])
UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def imported(tree):
    """The first parts of the names of all modules that a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def calls(tree):
    """(name of the function, keywords) of all calls in a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, {keyword.arg for keyword in node.keywords}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_unpickled_or_evaluated(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not UNPICKLING & set(imported(tree))
    for name, keywords in calls(tree):
        assert name not in ("eval", "exec", "read_pickle", "to_pickle", "enable_unsafe_deserialization")
        assert "allow_pickle" not in keywords


def test_the_walk_finds_what_it_looks_for():
    tree = ast.parse("import os, joblib.x\nfrom pickle import load\nnp.load(f, allow_pickle=True)\neval('1')")
    assert UNPICKLING & set(imported(tree)) == {"joblib", "pickle"}
    assert list(calls(tree)) == [("load", {"allow_pickle"}), ("eval", set())]


def test_a_pickled_array_is_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(tmp_path / "a.npy")


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_code_in_a_model_file_does_not_run_unless_it_is_trusted(tmp_path, kind):
    """The layer's function leaves a trace in a file when it is called: building the model on loading would do that."""
    path, trace = tmp_path / f"model.{kind}", str(tmp_path / "trace")
    code = f"lambda x: (open({trace!r}, 'w').close(), x)[1]"
    keras.Sequential([keras.Input([4]), keras.layers.Lambda(eval(code))]).save(path)
    (tmp_path / "trace").unlink()
    with pytest.raises(ValueError, match=r"holds Python code in a Lambda layer.*--trust"):
        loading.load_any(path)
    assert not (tmp_path / "trace").exists()
    loading.load_any(path, trust=True).generate(np.zeros([1, 4], np.float32))
    assert (tmp_path / "trace").exists()


def test_code_in_a_run_directorys_networks_does_not_run(tmp_path):
    """`generator.json` of somebody's run could hold a Lambda layer as well."""
    trace = str(tmp_path / "trace")
    model = keras.Sequential([keras.Input([4]), keras.layers.Lambda(eval(f"lambda x: (open({trace!r}, 'w'), x)[1]"))])
    (tmp_path / "trace").unlink()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "generator.json").write_text(model.to_json())
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "ckpt-1.index").write_bytes(b"")
    with pytest.raises(ValueError):
        loading.load_any(tmp_path)
    assert not (tmp_path / "trace").exists()


NAMES = ["..", ".", "../x", "a/b", "/etc", "a\0b", "", "a\nb", "~", "-x", "C:\\x", "a b", "$(x)", "a;b", ".hidden"]


@pytest.mark.parametrize("name", NAMES)
def test_an_arm_stays_in_its_study(name, tmp_path):
    with pytest.raises(ValueError, match="an arm's name must be letters"):
        _plan.make(arms={name: ["x.gin"]}, seeds=1)
    (tmp_path / "study.json").write_text(json.dumps({"arms": {name: ["x.gin"]}, "seeds": [0]}))
    with pytest.raises(ValueError, match="an arm's name must be letters"):
        _plan.StudyDirectory(tmp_path).read()


@pytest.mark.parametrize("name", ["a..b", "x...", "a.b-c_d", "é", "0"])
def test_names_that_look_odd_stay_too(name, tmp_path):
    study = _plan.make(arms={name: ["x.gin"]}, seeds=1)
    (run,) = _plan.StudyDirectory(tmp_path).list_runs(study)
    assert run.directory.path.resolve().is_relative_to(tmp_path.resolve() / "runs" / name)


EVIL = "<script>alert('x')</script>\"&"


def test_whatever_a_report_prints_is_escaped(tmp_path, unrendered):
    """Bindings, statuses, versions, devices, scores' names and who was scored with what: all from files of others."""
    values = [(8.0, 9.0, 3.0, 30), (9.0, 8.0, 4.0, 29)]
    directory = fabricated.study(tmp_path, {"a": values, "b": values}, bindings=[EVIL])
    for run in directory.list_runs(directory.read()):
        run.directory.update_run(sessions=[{"device": EVIL, "tfjc": EVIL}], scores=[{"classifier": EVIL}])
        rows = run.directory.read_metrics()
        run.directory.metrics.write_text("")
        for row in rows:
            run.directory.append_metrics({**row, f"{EVIL.replace('/', '')}/x/1": 1.0})
    runs = directory.list_runs(directory.read())
    runs[0].directory.update_run(status=EVIL)
    _report.write(directory, np.random.default_rng(0))
    page = (directory.path / "report.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    ours = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "figure", "img", "figcaption"}
    assert set(re.findall(r"<(\w+)", page)) <= ours | {"table", "thead", "tbody", "tr", "th", "td"}


@pytest.mark.parametrize("part", [_html.heading(EVIL), _html.paragraph(EVIL), _html.table([EVIL], [[EVIL]])])
def test_each_part_of_a_page_is_escaped(part):
    assert "<script" not in part and part.count("&lt;script&gt;") >= 1
    assert "<script" not in _html.page(EVIL, [])


@pytest.mark.parametrize(
    "text",
    [
        "import evilmod\n",
        "from evilmod import run as r\n",
        "dcgan.channels = 4\n  import evilmod\n",
        "from __gin__ import dynamic_registration\nimport os\ndataset.name = @os.system()\n",
        "include 'hidden.gin'\n",
    ],
)
def test_a_run_directorys_configuration_runs_no_code(tmp_path, monkeypatch, text):
    """`evilmod` leaves a trace in a file when it is imported."""
    (tmp_path / "evilmod.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\ndef run(): pass\n")
    (tmp_path / "hidden.gin").write_text("import evilmod\n")
    (tmp_path / "config.gin").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(configuration.ConfigError, match=r"config\.gin holds .*, which can run code.* use --trust"):
        configuration.refuse_code(tmp_path / "config.gin")
    assert not (tmp_path / "trace").exists()


def test_what_a_run_writes_as_its_configuration_is_data(finished_run, tmp_path):
    configuration.refuse_code(finished_run.config)
    (tmp_path / "words.gin").write_text("# import os\na = 'import os'\nGAN.loss = %a\nx/dcgan.n_z = \\\n    3\n")
    configuration.refuse_code(tmp_path / "words.gin")


@pytest.mark.parametrize("text", ["\0", "a = (", "a = 1; import os\n"])
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / "config.gin").write_text(text)
    with pytest.raises(configuration.ConfigError, match=r"config\.gin is damaged"):
        configuration.refuse_code(tmp_path / "config.gin")
