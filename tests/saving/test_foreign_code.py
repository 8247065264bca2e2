"""Files of Keras models: what names foreign code is refused before Keras reads it."""

import contextlib
import functools
import importlib
import io
import json
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from tfjc import layers
from tfjc.saving import loading
from tfjc.saving.loading import _foreign_code


def written(tmp_path, config, kind="keras", version="3.0.0"):
    """A file of a model with a configuration and no weights."""
    path, text = tmp_path / f"model.{kind}", json.dumps(config)
    if kind == "keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
            archive.writestr("metadata.json", json.dumps({"keras_version": version}))
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file.attrs["model_config"], file.attrs["keras_version"] = text, version
    else:
        path.write_text(text)
    return path


def sequential(*entries, **more):
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": list(entries)}, **more}


def dense(**config):
    return {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2, **config}}


OLD = [("keras", "2.15.0"), ("h5", "2.2.4-tf"), ("h5", "")]  # versions of Keras 2
OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
LAMBDA = {"class_name": "Lambda", "config": {"function": ["4wEAAAA=", None, None]}}
CALL = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
PAYLOADS = {
    "Lambda": sequential({"module": "keras.layers", **LAMBDA}),
    "Lambda of Keras 2": {"class_name": "Sequential", "config": [LAMBDA]},
    "Lambda deep inside": sequential(sequential(dense(), {"config": {"layer": {"module": "keras.layers", **LAMBDA}}})),
    "a lambda for an activation": sequential(dense(activation={"class_name": "__lambda__", "config": {"value": "x"}})),
    "TFSMLayer": sequential({"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/tmp/x"}}),
    "a type from any module": sequential({"class_name": "__typespec__", "spec_name": "system", "module": "os"}),
    "os.system": sequential(dense(activation=CALL)),
    "os.system as a class": sequential({"module": "os", "class_name": "system", "config": {"command": "id"}}),
    "a function of Keras's": sequential({"module": "keras.utils", "class_name": "get_file", "config": {"origin": "x"}}),
    "a function by its module": sequential(
        {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "get_file"}
    ),
    "what turns safety off": sequential(
        {"module": "keras.config", "class_name": "enable_unsafe_deserialization", "config": {}}
    ),
    "another module of Keras's": sequential({"module": "keras.src.saving.saving_lib", "class_name": "H5IOStore"}),
    "a module that is none of Keras's": sequential({"module": "keras.nothing", "class_name": "Dense", "config": {}}),
    "a module under Keras's name": sequential({"module": "keras_evil.layers", "class_name": "Dense", "config": {}}),
    "an unknown class": sequential({"module": "my.layers", "class_name": "Noise", "registered_name": "my>Noise"}),
    "code to compile with": sequential(sequential(dense(), compile_config={"loss": CALL})),
    "an unknown class of Keras 2": {"class_name": "Sequential", "config": [{"class_name": "Noise", "config": {}}]},
    "a file of this machine": sequential({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}),
    "a code layer that is registered": sequential({"class_name": "tests>Code", "config": {}}),
    **{
        f"{what} under a registered name": sequential({**entry, "registered_name": "tests>Known"})
        for what, entry in {
            "a function": {"module": "os", "class_name": "function", "config": "system"},
            "a class": {"module": "os", "class_name": "popen", "config": {}},
            "an operation": {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
        }.items()
    },
    "a registered name of nothing": sequential(
        {"module": "os", "class_name": "tests>Known", "config": {}, "registered_name": None}
    ),
}


REFUSED = r"(holds Python code|needs the (class|function|file)|calls a function).*could do anything\. If you trust"


@pytest.mark.parametrize("kind, version", [("keras", "3.0.0"), ("h5", "3.0.0"), ("json", None), *OLD])
@pytest.mark.parametrize("name", PAYLOADS)
def test_what_could_run_code_is_refused_and_named(tmp_path, name, kind, version):
    with pytest.raises(ValueError, match=REFUSED):
        _foreign_code.check(written(tmp_path, PAYLOADS[name], kind, version))


@pytest.mark.parametrize("kind, refused", [("keras", False), ("h5", True), ("json", True)])
def test_what_a_model_is_compiled_with_is_checked_where_keras_reads_it(tmp_path, kind, refused):
    """`load_model(compile=False)` ignores it in an archive; `model_from_json` compiles the model."""
    config = sequential(dense(), compile_config={"loss": {"class_name": "__lambda__", "config": {"value": "x"}}})
    with pytest.raises(ValueError, match=REFUSED) if refused else contextlib.nullcontext():
        _foreign_code.check(written(tmp_path, config, kind))


def unknown(module):
    return {"class_name": "Noise", "config": {}} | ({} if module is None else {"module": module})


IN_PYTHON = r"set {}\.saving\.get_custom_objects\(\)\['Noise'\] to it, and call tfjc\.saving\.load_any"


@pytest.mark.parametrize(
    "version, module, said, way",
    [
        ("3.0.0", "my.layers", "no module 'my' is installed", r"install it, import the class from 'my\.layers' in"),
        ("3.0.0", "json.tool", "Keras does not import by itself", r"author, import the class from 'json\.tool' in"),
        ("3.0.0", "keras_cv.layers", "no module 'keras_cv' is installed", "install it and give --trust"),
        ("3.0.0", "__main__", "does not say of which module", "define the class in Python, " + IN_PYTHON),
        ("3.0.0", None, "does not say of which module", "define the class in Python, " + IN_PYTHON),
        ("3.0.0", "a b\n", r"no module 'a b\\n' is installed", "install it, import .* in Python, " + IN_PYTHON),
        ("3.0.0", "", "no module '' is installed", "install it"),
        ("2.15.0", "my.layers", "no module 'my' is installed", r"install it, import the class from 'my\.layers' in"),
        ("2.15.0", "json.tool", "Keras does not import by itself", r"author, import the class from 'json\.tool' in"),
        ("2.15.0", None, "does not say of which module", "define the class in Python, " + IN_PYTHON),
    ],
)
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_the_message_says_what_makes_a_class_known(tmp_path, kind, version, module, said, way):
    """--trust where Keras would then import the module; else what to do in Python."""
    path, way = written(tmp_path, sequential(unknown(module)), kind, version), way.replace("{}", "(tf_)?keras")
    said = f"needs the class 'Noise'.*{said}.*{way}.*ask for a SavedModel"
    for trust in (False, True):
        with pytest.raises(ValueError, match=said) as caught:
            _foreign_code.check(path, trust)
        assert ("--trust" in str(caught.value)) == ("--trust" in way) and "\n" not in str(caught.value)


OWN = """
class Twice(K.layers.Layer):
    def call(self, z):
        return 2.0 * z

class Model(K.Model):
    def call(self, z):
        return 2.0 * z

def twice(x):
    return 2.0 * x
"""


@pytest.mark.parametrize("kind", ["layer", "function", "model"])
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["Keras 3", "Keras 2"])
def test_a_file_is_loaded_in_the_way_that_the_message_says(tmp_path, monkeypatch, library, kind):
    """G(z) = 2z by a class or function of a module that is installed and that this process has not imported."""
    own, path, z = f"own_{library.__name__}", tmp_path / "g.keras", np.arange(8, dtype=np.float32).reshape(2, 4)
    (tmp_path / f"{own}.py").write_text(f"import {library.__name__} as K\n{OWN}")
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module(own)
    layer = made.Twice() if kind == "layer" else library.layers.Activation(made.twice)
    model = made.Model() if kind == "model" else library.Sequential([library.Input([4]), layer])
    model(z)
    model.save(path)
    monkeypatch.delitem(sys.modules, own)
    load = functools.partial(loading.load_any, path, latent_shape=[4])
    trust = (library, kind) == (tf_keras, "model")
    with pytest.raises(
        ValueError, match="--trust" if trust else rf"set {library.__name__}\.saving\.get_custom_objects"
    ):
        load()
    if not trust:
        with pytest.raises(ValueError, match="in Python, set"):
            load(trust=True)
        known = {"layer": made.Twice, "function": made.twice, "model": made.Model}[kind]
        monkeypatch.setitem(library.saving.get_custom_objects(), known.__name__, known)
    np.testing.assert_array_equal(load(trust=trust).generate(z), 2.0 * z)


def test_an_archive_at_the_end_of_an_hdf5_file_does_not_hide_it(tmp_path):
    """Keras reads a file `.h5` as HDF5, and zip archives are found by their ends."""
    path, archive = written(tmp_path, sequential(LAMBDA), "h5", "2.15.0"), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as harmless:
        harmless.writestr("config.json", json.dumps(sequential(dense())))
    path.write_bytes(path.read_bytes() + archive.getvalue())
    assert zipfile.is_zipfile(path) and h5py.is_hdf5(path)
    with pytest.raises(ValueError, match=REFUSED):
        _foreign_code.check(path)


@pytest.mark.parametrize("kind, version", OLD)
def test_layers_of_keras_2_that_could_call_anything_are_refused(tmp_path, kind, version):
    """TensorFlow's functions can read, write and load; only those that compute tensors from tensors pass."""
    functions = ["io.write_file", "raw_ops.WriteFile", "keras.utils.get_file", "py_function", "compat.v1.py_func"]
    functions += ["load_op_library", "nn.fixed_unigram_candidate_sampler", "math.os.system", "nn.RNNCellDeviceWrapper"]
    payloads = [{"class_name": name, "config": {"function": f}} for name in OPERATIONS for f in functions]
    methods = {"cls_symbol": "io", "method_name": "write_file", "attr_name": "graph", "node_def": "WriteFile"}
    names = ["ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer"]
    payloads += [{"class_name": name, "config": methods} for name in names]
    payloads += [{"class_name": "TFOpLambda", "config": "add"}, {"class_name": "TFOpLambda"}]
    payloads += [{"class_name": "TypeSpec", "type_spec": "x", "serialized": []}]
    payloads += [{"class_name": "NumericColumn", "config": {"normalizer_fn": "system"}}]
    for payload in payloads:
        for module in ({}, {"module": "tf_keras.src.layers"}, {"module": "keras.src.layers"}):
            with pytest.raises(ValueError, match=REFUSED):
                _foreign_code.check(written(tmp_path, sequential({**payload, **module}), kind, version))
    harmless = ["add", "reshape", "math.sin", "nn.leaky_relu", "__operators__.getitem", "compat.v1.shape"]
    layers_of = [{"class_name": name, "config": {"function": f}} for name in OPERATIONS for f in harmless]
    _foreign_code.check(written(tmp_path, sequential(*layers_of), kind, version))


@keras.saving.register_keras_serializable(package="tests")
class Own(keras.layers.Activation):
    """A class that this process knows."""


@keras.saving.register_keras_serializable(package="tests")
def own(x):
    """A function that this process knows."""
    return 2.0 * x


for library in (keras, tf_keras):
    register = library.saving.register_keras_serializable
    register("tests", "Known")(type("Known", (library.layers.Activation,), {}))
    register("tests", "Code")(type("Code", (library.layers.Lambda,), {}))  # as TensorFlow Probability's layers are


def everything(operations):
    """A model of Keras's layers, ours, one of this process's, and, if asked for, operations on tensors."""
    z = keras.Input([8])
    x = keras.layers.Dense(16, activation=keras.activations.gelu, kernel_regularizer=keras.regularizers.L2(0.1))(z)
    x = layers.SpectralNormalization(keras.layers.Dense(16, kernel_constraint="non_neg"))(x)
    x = keras.layers.LeakyReLU(0.2)(keras.layers.BatchNormalization()(x))
    if operations:  # Keras cannot read them back from HDF5
        x = x * 2.0 + keras.ops.tanh(x)[:, ::-1]
    x = keras.layers.Reshape([4, 4, 1])(keras.layers.Activation(own)(Own("relu")(x)))
    x = keras.Sequential([keras.Input([4, 4, 1]), keras.layers.Conv2DTranspose(3, 3, strides=2)])(x)
    model = keras.Model(z, keras.layers.Activation("tanh", dtype="mixed_bfloat16")(keras.layers.UpSampling2D()(x)))
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 10)), loss="mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("kind", ["keras", "h5", "json"])
def test_models_of_keras_and_of_this_process_pass(tmp_path, kind):
    model, path = everything(operations=kind != "h5"), tmp_path / f"model.{kind}"
    path.write_text(model.to_json()) if kind == "json" else model.save(path)
    _foreign_code.check(path)


@pytest.mark.parametrize("library, version", [(keras, "3.0.0"), (tf_keras, "2.15.0")])
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_all_that_keras_exports_passes(tmp_path, library, version, kind):
    """Every layer, but for those that call a file's code; every initializer, regularizer and activation."""
    code = {"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"}
    classes = [
        {"class_name": name, "config": {}} | ({"module": f"keras.{part}"} if kind == "keras" else {})
        for part in ("layers", "initializers", "regularizers", "constraints")
        for name, value in vars(getattr(library, part)).items()
        if isinstance(value, type) and name not in {*code, "InputSpec"}
    ]
    assert len(classes) > 150
    activations = [name for name in vars(library.activations) if not name.startswith("_")]
    functions = [{"module": "builtins", "class_name": "function", "config": name} for name in activations]
    _foreign_code.check(written(tmp_path, sequential(*classes, *functions), kind, version))


def test_weights_alone_are_told_from_a_model(tmp_path):
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"holds weights alone, no network.*model\.load_weights.*model\.save"):
        _foreign_code.check(tmp_path / "model.weights.h5")


def damaged(kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if kind != "no configuration":
            archive.writestr("config.json", "{" if kind == "no JSON" else "[" * 100_000)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["no configuration", "no JSON", "nested without end"])
def test_a_damaged_file_is_named(tmp_path, kind):
    (tmp_path / "model.keras").write_bytes(damaged(kind))
    with pytest.raises(ValueError, match=r"model\.keras cannot be loaded"):
        _foreign_code.check(tmp_path / "model.keras")
