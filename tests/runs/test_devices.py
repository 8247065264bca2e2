"""Several devices, several processes, XLA and 16 bits: the same numbers everywhere."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import types

import forks
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc import architectures, geometry, models, penalties
from tfjc.evaluators import ConditioningEvaluator
from tfjc.runs import devices
from tfjc.saving import export
from tfjc.support import replicas
from tfjc.support.run_directory import RunDirectory

HERE = pathlib.Path(__file__).parents[1]


def start(script, *arguments, **environment):
    """A program of this folder, in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return forks.Process(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def end(process):
    """What a program printed, which must have ended well."""
    printed = process.communicate()[0]
    assert process.returncode == 0, printed[-3000:]
    return printed


@functools.cache
def trained(folder, count, *names):
    """{name: array} of the cases `names` in tests/replicas.py on `count` replicas."""
    file = folder / f"{count}-{'-'.join(names)}.npz"
    end(start("replicas.py", count, file, *names))
    return dict(np.load(file))


# Of those in tests/replicas.py, to which the others add minutes.
SHARED = {2: ("float16", "conditional", "clamped"), 4: ("spectrum", "vae")}


@pytest.mark.parametrize("count, names", SHARED.items())
def test_any_number_of_replicas_makes_the_same_update(tmp_path_factory, count, names):
    """Two steps in float64: weights, moving statistics, means that are logged, spectra and images of what comes out.

    Some of what is logged is kept in float32; "float16" computes in 16 bits.
    """
    folder = tmp_path_factory.getbasetemp()
    alone, together = trained(folder, 0, *names), trained(folder, count, *names)
    for name, value in together.items():
        case, what = name.split(": ")
        if not what.startswith("share"):
            tolerance = 1e-2 if case == "float16" else 1e-6
            np.testing.assert_allclose(value, alone[name], rtol=tolerance, atol=0.1 * tolerance, err_msg=name)


def test_replicas_share_what_is_measured(tmp_path_factory):
    """Five latents, and five images for scores, over two replicas: three and two."""
    found = trained(tmp_path_factory.getbasetemp(), 2, *SHARED[2])
    for name in ("float16: share", "networks: share 0 5"):
        np.testing.assert_array_equal(found[name], [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found["networks: share 0 3"], [0, 0, 1])


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def start_workers(workdir, steps):
    hosts = [f"localhost:{port}" for port in free_ports(2)]
    tasks = [{"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}} for index in range(2)]
    return [start("workers.py", workdir, steps, TF_CONFIG=json.dumps(task)) for task in tasks]


def final(workdir, step):
    reader = tf.train.load_checkpoint(f"{workdir}/checkpoints/ckpt-{step}")
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if "VARIABLE" in name}


def test_two_workers_one_killed_end_as_one_process(tmp_path):
    """The second worker is killed past a checkpoint; the first ends by itself, and both go on when started again."""
    steps = 20  # so many that the kill comes before the end
    single = start("workers.py", tmp_path / "alone", steps)
    chief, other = start_workers(tmp_path / "together", steps)
    while not (tmp_path / "together/checkpoints/ckpt-4.sha256").exists():
        assert chief.poll() is None, chief.communicate()[0][-3000:]
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    printed = chief.communicate(timeout=120)[0]
    run = RunDirectory(tmp_path / "together")
    assert chief.returncode == 1
    assert "another worker ended" in printed
    assert run.read_run()["status"] == "interrupted"
    for worker in start_workers(run.path, steps):
        end(worker)
    end(single)
    alone, together = final(tmp_path / "alone", steps), final(run.path, steps)
    assert len(alone) > 20
    for name, value in alone.items():
        np.testing.assert_allclose(together[name], value, rtol=1e-6, atol=1e-9, err_msg=name)
    rows = [each.read_metrics() for each in (run, RunDirectory(tmp_path / "alone"))]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == [*range(0, steps + 1, 2)]
    assert rows[0][-1]["critic_loss"] == pytest.approx(rows[1][-1]["critic_loss"], rel=1e-6)
    assert not list(pathlib.Path(run.path).glob("*worker*"))


@pytest.mark.parametrize(
    "name, address, config, message",
    [
        ("miror", None, None, "unknown strategy 'miror'; nearest: mirrored"),
        ("mirrored", "10.0.0.1", None, "an address is for the strategy 'tpu', found '10.0.0.1' with 'mirrored'"),
        ("multi_worker", None, None, "needs TF_CONFIG such as .* found none"),
        ("multi_worker", None, "{", "needs TF_CONFIG such as .* found {"),
        ("multi_worker", None, '{"cluster": {"worker": ["a:1"]}}', "needs TF_CONFIG such as"),
        (
            "multi_worker",
            None,
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
            "must have only workers",
        ),
        (
            "multi_worker",
            None,
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "names workers 0 to 0, found task.index = 1",
        ),
        *(
            (
                "multi_worker",
                None,
                f'{{"cluster": {{"worker": {workers}}}, "task": {{"type": "worker", "index": {index}}}}}',
                message,
            )
            for workers, index, message in [
                ('["a"]', 0, "must be 'host:port' .* found 'a'"),
                ('["a:1", "a:1"]', 0, "must be a list of different addresses, found"),
                ('"a:1"', 0, "must be a list of different addresses, found 'a:1'"),
                ("[3]", 0, "must be 'host:port' .* found 3"),
                ('["a:70000"]', 0, "must be 'host:port' with a port of 1 to 65535, found 'a:70000'"),
                ('["a:1"]', "true", "names workers 0 to 0, found task.index = True"),
                ("[]", 0, "must be a list of different addresses"),
            ]
        ),
        ("multi_worker", None, '{"cluster": [], "task": []}', "needs TF_CONFIG such as"),
        ("multi_worker", None, "[1]", "needs TF_CONFIG such as"),
        ("tpu", None, None, "no TPU at this machine"),
        ("tpu", "local", None, "no TPU at this machine"),
    ],
)
def test_strategies_that_cannot_be(monkeypatch, name, address, config, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=message):
        devices.create(name, address)


def test_precision_is_one_of_three():
    with pytest.raises(ValueError, match=r"unknown precision .float16.; nearest: .*mixed_float16"):
        devices.prepare(precision="float16")


def test_several_replicas_are_refused_what_they_cannot_do():
    networks = architectures.dcgan((8, 8, 1), n_z=3, channels=2)
    model = models.GAN(*networks[:2])
    model.replicas = 3
    with pytest.raises(ValueError, match="XLA compiles for one device, found jit_compile=True with 3 replicas"):
        model.compile(jit_compile=True)
    with pytest.raises(ValueError, match="several replicas, found steps_per_execution = 4 with 3 replicas"):
        model.compile(jit_compile=False, steps_per_execution=4)
    with pytest.raises(ValueError, match="batch_size must be a multiple of 3, the number of replicas, found 8"):
        model.fit(np.zeros([24, 8, 8, 1], np.uint8), batch_size=8)


def test_xla_compiles_steps_of_a_deterministic_program():
    """Keras's `jit_compile` leaves XLA out where operations are to be deterministic, as `devices.prepare` has it."""
    code = "from tfjc import models, architectures as a; from tfjc.runs import devices; devices.prepare('on'); "
    code += "m = models.GAN(*a.mlp((4, 4, 1), n_z=2, width=2)[:2]); print(m.jit_compile)"
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = forks.run([sys.executable, "-c", code], env=environment)
    assert done.stdout.strip() == "True", done.stderr


# Operations that run on the host, or whose shapes are known only when they have run: none of them is for a TPU.
HOST = {"PyFunc", "EagerPyFunc", "Print", "PrintV2", "Where", "Unique", "WriteSummary", "WriteScalarSummary"}


def operations(graph):
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def compiled(function, *arguments):
    """The whole of a function as one XLA module, shapes known: what XLA cannot take raises."""
    concrete = function.get_concrete_function(*arguments)
    assert not operations(concrete.graph) & HOST
    text = function.experimental_get_compiler_ir(*arguments)(stage="hlo")
    assert "custom-call" not in text or "xla_ffi_python" not in text
    assert "<=" not in text.split("\n", 1)[0]  # a bound in the module's signature is a shape that is not static
    return text


def test_a_step_and_a_metric_tensor_are_whole_xla_modules_of_static_shapes():
    """What a TPU asks for, on this CPU: class-conditional WGAN-GP with clamping, and DCGAN's normalisation."""
    networks = architectures.wgangp_resnet((16, 16, 1), num_classes=3, n_z=3, channels=2)
    model = models.GAN(
        *networks[:2],
        num_classes=3,
        loss="wasserstein",
        d_steps=2,
        critic_penalties=[penalties.GradientPenalty()],
        generator_penalties=[penalties.JacobianClamping()],
    )
    model.compile(jit_compile=False)
    step = tf.function(lambda *data: model.train_step(data), autograph=False, jit_compile=True)
    batch = tf.zeros([8, 16, 16, 1], tf.uint8), tf.zeros([8], tf.int32)
    assert "convolution" in compiled(step, *batch)
    generator = architectures.dcgan((8, 8, 1), n_z=3, channels=2).generator
    metric = tf.function(lambda z: geometry.metric_tensor(generator, z), autograph=False, jit_compile=True)
    assert "f64[4,3,3]" in compiled(metric, tf.zeros([4, 3]))


@pytest.mark.parametrize("policy, bound", [("mixed_bfloat16", 0.01), ("mixed_float16", 0.004)])
def test_what_is_measured_in_16_bits_is_near_what_it_is_in_32(policy, bound):
    """Of the same weights: each quotient, relatively, and the mean log-condition number, within 0.01 or 0.004."""

    def measured(policy):
        keras.config.set_dtype_policy(policy)
        try:
            generator = architectures.dcgan((16, 16, 1), n_z=8, channels=8, seed=3).generator
        finally:
            keras.config.set_dtype_policy("float32")
        found, q = ConditioningEvaluator(tf.random.stateless_normal([16, 8], [1, 2])).measure(generator)
        assert found.singular_values.dtype == q.dtype == np.float64
        return q, found.mean_log_condition

    (expected, log), (q, rounded) = measured("float32"), measured(policy)
    assert np.abs(q / expected - 1.0).max() < bound
    assert abs(rounded - log) < bound
    assert np.abs(q / expected - 1.0).max() > 1e-6  # or nothing was computed in 16 bits


def test_a_generator_trained_in_16_bits_is_exported_with_images_in_32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        networks = architectures.dcgan((8, 8, 1), n_z=3, channels=2)
    finally:
        keras.config.set_dtype_policy("float32")
    path = export.export_generator(networks.generator, tmp_path / "export")
    images = export.load_generator(path)(tf.zeros([2, 3]))
    assert images.dtype == tf.float32


def test_float16_networks_get_optimisers_that_scale_losses():
    kinds = {}
    for policy in devices.PRECISIONS:
        keras.config.set_dtype_policy(policy)
        try:
            networks = architectures.dcgan((8, 8, 1), n_z=3, channels=2)
        finally:
            keras.config.set_dtype_policy("float32")
        model = models.GAN(*networks[:2])
        kinds[policy] = {type(optimizer).__name__ for optimizer in (model.generator_optimizer, model.critic_optimizer)}
    assert kinds == {"float32": {"Adam"}, "mixed_bfloat16": {"Adam"}, "mixed_float16": {"LossScaleOptimizer"}}


@pytest.mark.parametrize("parts", [1, 2])
def test_noise_of_a_replica_is_its_part_of_the_batch_s(monkeypatch, parts):
    """Three replicas have two rows each of every part of a batch; put together they are one device's noise."""
    draw = functools.partial(tf.random.stateless_normal, seed=[1, 2])
    alone = replicas.rows(draw, [6 * parts, 2], parts).numpy()
    np.testing.assert_array_equal(alone, draw([6 * parts, 2]))
    for replica in range(3):
        context = types.SimpleNamespace(num_replicas_in_sync=3, replica_id_in_sync_group=replica)
        monkeypatch.setattr(tf.distribute, "get_replica_context", lambda context=context: context)
        own = alone.reshape(parts, 3, 2, 2)[:, replica].reshape(2 * parts, 2)
        np.testing.assert_array_equal(replicas.rows(draw, [2 * parts, 2], parts), own)
