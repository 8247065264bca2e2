"""Files of Keras models: what names foreign code is refused before Keras reads it."""

import contextlib
import io
import json
import zipfile

import h5py
import keras
import pytest
import tf_keras

from tfjc import layers
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


REFUSED = r"(holds Python code|needs the (class|function|file)|calls a function).*could do anything.*--trust"


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
