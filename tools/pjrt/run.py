"""Runs a bundle of `export.py` with JAX's PJRT client alone: checks it, times it beside peers, trains a study's runs.

python tools/pjrt/run.py check BUNDLE
python tools/pjrt/run.py metric BUNDLE --output metric.jsonl
python tools/pjrt/run.py step BUNDLE --output step.jsonl --scratch FOLDER
python tools/pjrt/run.py study BUNDLE --output study.jsonl --runs FOLDER --budget 400

The programs are tfjc's; JAX loads them and computes nothing else, but for the peers that are named so. Each measurement
is a line of JSON in the output file as soon as it is made.
"""

import argparse
import concurrent.futures
import functools
import json
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "benchmarks")]

import numpy as np  # noqa: E402
from _bundle import Bundle  # noqa: E402

PRODUCT = 8192  # the size of the matrices of the product that others are compared with
SWEPT = 3  # networks of the metric part that are compiled side by side; the others one after the other


class Output:
    """A file of JSON lines, each also printed."""

    def __init__(self, path, **common):
        self._path, self._common, self._began = path, common, time.perf_counter()

    def __call__(self, **found):
        """Writes a line."""
        line = json.dumps({**self._common, **found, "at": round(time.perf_counter() - self._began, 2)})
        print(line[:400], flush=True)
        if self._path:
            with open(self._path, "a", encoding="utf-8") as stream:
                stream.write(line + "\n")


def timed(call, wait, most=1.0):
    """Seconds of a call, of five rounds of several calls each, waited for at the end of a round: [5]."""
    start = time.perf_counter()
    wait(call())
    once = time.perf_counter() - start
    count = max(1, min(200, int(most / 5 / max(once, 1e-6))))
    rounds = []
    for _ in range(5 if once < most else 2):
        start = time.perf_counter()
        for _ in range(count):
            found = call()
        wait(found)
        rounds.append((time.perf_counter() - start) / count)
    return rounds


def in_threads(tasks, output, workers):
    """{key: value} of {key: function}, called side by side; what fails is written to the output and left out."""
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        futures = {key: executor.submit(function) for key, function in tasks.items()}
        found = {}
        for key, future in futures.items():
            try:
                found[key] = future.result()
            except Exception as error:  # whatever a compiler raises
                output(failed=str(key), error=f"{type(error).__name__}: {str(error)[:500]}")
    return found


def relative(found, expected):
    """‖found − expected‖/‖expected‖."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def wanted(flags, network):
    """Whether a network is among those that the flags ask for."""
    return not flags.networks or network in flags.networks


def device():
    """What JAX computes on."""
    import jax

    return jax.devices()[0].device_kind


# ---- Checks and metric tensors


def check(flags):
    """Compares every metric tensor with TensorFlow's."""
    import _pjrt

    bundle, output = Bundle(flags.bundle), Output(flags.output, part="check")
    for name in bundle.manifest["metric"]:
        made = _Metric(bundle, name)
        module = made.compile(_pjrt)
        output(network=name, error=relative(made.ours(module)()[:2], made.reference), compile=module.seconds)


class _Metric:
    """A network of the metric part: its state and latents, and calls that return metric tensors."""

    def __init__(self, bundle, name):
        self.bundle, self.name, self.entry = bundle, name, bundle.manifest["modules"][f"metric/{name}"]
        self.state, self.z = bundle.state(self.entry["state"]), bundle.value(self.entry["z"])
        self.reference = bundle.value(self.entry["reference"])
        self.flops = 2 * self.z.size * self.entry["macs"]

    def compile(self, pjrt):
        return pjrt.Module(self.bundle, f"metric/{self.name}")

    def operations(self):
        """The network as operations with arrays as weights, for the peers."""
        named = self.entry["operations"]
        return [{**op, "weights": [self.state[name] for name in op["weights"]]} for op in named]

    def ours(self, module):
        import _pjrt
        import jax

        state, z = _pjrt.device_state(self.state), jax.device_put(self.z)
        return lambda: module(state, z=z)[0]["metric_tensor"]

    def jax(self):
        """jax.jacfwd, then the product in float64, compiled together: (call, seconds of compilation)."""
        import _jax
        import jax
        from jax import numpy as jnp

        network = _jax.Network(self.name, self.operations(), self.z)

        def metric_tensor(weights, z):
            one = jax.jacfwd(lambda z: network._generate(weights, z).reshape(-1))
            j = jax.vmap(one)(z).astype(jnp.float64)
            return jnp.swapaxes(j, 1, 2) @ j

        start = time.perf_counter()
        compiled = jax.jit(metric_tensor).lower(network._weights, network._z).compile()
        return lambda: compiled(network._weights, network._z), time.perf_counter() - start


def metric(flags):
    """Times metric tensors beside jax.jacfwd, and keeps a few for the peers' process."""
    import _pjrt
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    bundle = Bundle(flags.bundle)
    output = Output(flags.output, part="metric", device=device(), precision="float32")
    names = bundle.manifest["metric"]
    output(method="product", **_product(jax))
    for group in (names[:SWEPT], *([name] for name in names[SWEPT:])):
        group = [name for name in group if wanted(flags, name)]
        made = {name: _Metric(bundle, name) for name in group}
        modules = in_threads({n: functools.partial(m.compile, _pjrt) for n, m in made.items()}, output, flags.workers)
        for name, module in modules.items():
            call = made[name].ours(module)
            m = np.asarray(call())
            np.save(flags.scratch / f"{name}.npy", m)
            _report(output, made[name], "tfjc", call, jax.block_until_ready, m, module.seconds)
        compiled = in_threads({name: made[name].jax for name in group}, output, flags.workers)
        for name, (call, seconds) in compiled.items():
            try:
                _report(output, made[name], "jax.jacfwd", call, jax.block_until_ready, np.asarray(call()), seconds)
            except Exception as error:  # memory, most likely
                output(failed=name, error=f"{type(error).__name__}: {str(error)[:300]}")


def _report(output, made, method, call, wait, m, compile_seconds):
    seconds = timed(call, wait)
    output(
        network=made.name,
        method=method,
        seconds=seconds,
        flops_per_second=made.flops / statistics.median(seconds),
        error=relative(m[: len(made.reference)], made.reference),
        compile=compile_seconds,
        latents=len(made.z),
        memory=_memory(),
    )


def _memory():
    import jax

    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _product(jax):
    """Seconds and FLOP/s of a large product in float32."""
    size = PRODUCT if jax.default_backend() == "gpu" else 512
    a = jax.random.normal(jax.random.key(0), [size, size], "float32")
    multiply = jax.jit(lambda a, b: jax.lax.dot(a, b, precision=jax.lax.Precision.HIGHEST))
    seconds = timed(lambda: multiply(a, a), jax.block_until_ready)
    return {"seconds": seconds, "flops_per_second": 2 * size**3 / statistics.median(seconds), "size": size}


# ---- Training steps


def step(flags):
    """Times updates, alone and many in one module, beside the same step in JAX."""
    bundle = Bundle(flags.bundle)
    output = Output(flags.output, part="step", device=device())
    cases = {}
    for key in bundle.manifest["step"]:
        cases.setdefault(key.split("/")[1], []).append(key)
    for place, (name, keys) in enumerate(cases.items()):
        for precision in ("float32", "tf32") if wanted(flags, name) else ():
            _step(bundle, name, keys, place, precision, output, flags)


def _step(bundle, name, keys, place, precision, output, flags):
    import _pjrt

    plan = [what for what in _plan(keys, place) if what[1] == precision]
    tasks = {what: functools.partial(_pjrt.Module, bundle, *what) for what in plan}
    noises = [key for key in keys if not key.endswith("bfloat16") and precision == "float32"]
    tasks |= {(f"{key}/noise",): functools.partial(_pjrt.Module, bundle, f"{key}/noise") for key in noises}
    modules = in_threads(tasks, output, flags.workers)
    for key in noises:
        _write_check(bundle, key, modules, flags.scratch)
    for what in plan:
        try:
            _time_module(bundle, modules.pop(what), what, output)
        except Exception as error:  # it was not compiled, or the device refuses it
            output(failed=str(what), error=f"{type(error).__name__}: {str(error)[:300]}")
    matmul = {"float32": "highest", "tf32": "default"}[precision]
    peers = {c: functools.partial(_jax_peer, bundle, name, c, matmul) for c in (True, False)}
    for clamped, (training, seconds) in in_threads(peers, output, flags.workers).items():
        found = timed(functools.partial(training.step, 10), lambda _: None)
        output(
            network=name,
            clamped=clamped,
            method="JAX, jit",
            precision=precision,
            updates=1,
            seconds=[s / 10 for s in found],
            compile=seconds,
        )


def _plan(keys, place):
    """(module, precision, what is put into CUDA graphs) of all that is timed of a network, the most telling first.

    Of the first network, figure 1's, many updates are those of the runs.
    """
    plain = [key for key in keys if not key.endswith("bfloat16")][::-1]
    many = {key: f"study/{key.split('/')[2]}/many" if place == 0 else f"{key}/many" for key in plain}
    for key in plain:
        yield many[key], "float32"
        yield f"{key}/one", "float32"
    for key in plain:
        yield many[key], "tf32"
    for key in keys:
        if key.endswith("bfloat16") and place < 2:
            yield f"{key}/many", "tf32"


def graphs(flags):
    """Times figure 1's updates with more or less of them in CUDA graphs, and notes which is the fastest."""
    import _pjrt

    bundle, output = Bundle(flags.bundle), Output(flags.output, part="graphs", device=device())
    kinds = {kind: ("study/clamped/many", flags.precision, kind) for kind in _pjrt.GRAPHS}
    tasks = {kind: functools.partial(_pjrt.Module, bundle, *what) for kind, what in kinds.items()}
    modules, found, expected = in_threads(tasks, output, flags.workers), {}, None
    for kind in modules:
        try:
            seconds, losses = _time_module(bundle, modules[kind], kinds[kind], output)
        except Exception as error:  # the device refuses it
            output(failed=kind, error=f"{type(error).__name__}: {str(error)[:300]}")
            continue
        expected = expected or losses  # of the usual graphs
        if all(abs(losses[name] - expected[name]) <= 0.02 * abs(expected[name]) + 0.01 for name in losses):
            found[kind] = seconds
        (flags.scratch / "graphs.json").write_text(json.dumps(found), encoding="utf-8")


def fastest_graphs(scratch):
    """The kind of graphs that `graphs` found to be the fastest, by 3 % at least; the default where it did not run."""
    file = scratch / "graphs.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    best = min(found, key=found.get, default="default")
    return best if found and found[best] < 0.97 * found.get("default", 0.0) else "default"


def _batch(bundle, entry, images):
    """Inputs of a training module: random images, or labels, or which of them each update takes."""
    rng, found = np.random.default_rng(0), {}
    for parameter in entry["parameters"]:
        if parameter["kind"] == "input":
            name, shape = parameter["name"], parameter["shape"]
            most = {"images": 256, "labels": 10, "index": images}[name]
            found[name] = rng.integers(0, most, shape).astype(parameter["dtype"])
    return found


def _time_module(bundle, module, what, output):
    import _pjrt
    import jax

    _, precision, graphs = (*what, "default")[:3]
    entry = module.entry
    images = next(p["shape"][0] for p in entry["parameters"] if p["name"] == "images")
    inputs = {name: jax.device_put(array) for name, array in _batch(bundle, entry, images).items()}
    box = [_pjrt.device_state(bundle.state(entry["state"]))]

    def call():
        outputs, box[0] = module(box[0], **inputs)
        return outputs

    losses = {name: float(value) for name, value in call().items()}
    seconds = timed(call, jax.block_until_ready, most=1.5)
    half = "bfloat16" in module.name
    output(
        network=entry["case"],
        clamped=entry["clamped"],
        method="tfjc",
        precision="bfloat16" if half else precision,
        graphs=graphs,
        updates=entry["updates"],
        seconds=[s / entry["updates"] for s in seconds],
        compile=module.seconds,
        losses=losses,
    )
    return statistics.median(seconds), losses


def _write_check(bundle, key, modules, scratch):
    """Takes two updates, and keeps what they drew and lost for the peers' process."""
    import _pjrt

    noise, one = modules.get((f"{key}/noise",)), modules.get((f"{key}/one", "float32"))
    if noise is None or one is None:
        return
    state, found, losses = _pjrt.device_state(bundle.state(one.entry["state"])), {}, []
    batch = _batch(bundle, one.entry, 0)
    for index in range(2):
        drawn, _ = noise(state)
        found |= {f"{index}.{name}": np.asarray(value) for name, value in drawn.items()}
        means = {name: np.zeros_like(value) for name, value in state.items() if name.startswith("mean/")}
        measured, state = one({**state, **_pjrt.device_state(means)}, **batch)
        losses.append({name: float(value) for name, value in measured.items()})
    np.savez(scratch / (key.replace("/", "-") + ".npz"), losses=json.dumps(losses), **found)


def peer_arguments(bundle, key):
    """(case, generator's weights, critic's weights, images, labels) to begin a peer's training with."""
    from _training import case

    entry = bundle.manifest["modules"][f"{key}/one"]
    state, batch = bundle.state(entry["state"]), _batch(bundle, entry, 0)
    weights = [[state[name] for name in entry["peers"][network]] for network in ("generator", "critic")]
    labels = batch.get("labels", np.zeros(0, np.int32))
    return case(entry["case"], entry["clamped"]), *weights, batch["images"], labels


def _jax_peer(bundle, name, clamped, precision):
    """A training in JAX that has made its first step, and the seconds that took."""
    import _training_jax
    import jax

    with jax.enable_x64(False), jax.default_matmul_precision(precision):
        chosen, *arguments = peer_arguments(bundle, f"step/{name}/{'clamped' if clamped else 'unclamped'}")
        training = _training_jax.Training(chosen)
        training.begin(*arguments)
        start = time.perf_counter()
        training.step(1)
        first = time.perf_counter() - start
    return _Scoped(training, precision), first


class _Scoped:
    """A training whose steps are taken with the settings under which it was compiled."""

    def __init__(self, training, precision):
        self._training, self._precision = training, precision

    def step(self, count):
        import jax

        with jax.enable_x64(False), jax.default_matmul_precision(self._precision):
            self._training.step(count)


# ---- A study


def study(flags):
    """Trains the runs of the bundle's study, all arms of a seed in turn, as many as the budget holds."""
    import _study

    _study.main(flags, Bundle(flags.bundle), Output(flags.output, part="study", device=device()))


def _share(text):
    """(I, N) of "I/N"."""
    share, processes = map(int, text.split("/"))
    if not 0 <= share < processes:
        raise ValueError
    return share, processes


def main():
    """Runs the part that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("check", "metric", "step", "graphs", "study"))
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", help="of metric and step: these alone, as the bundle names them")
    parser.add_argument("--output", type=pathlib.Path, help="a file that gets a line of JSON for each measurement")
    parser.add_argument(
        "--scratch", type=pathlib.Path, default=pathlib.Path("/tmp/tfjc"), help="for the peers' process"
    )
    parser.add_argument("--workers", type=int, default=6, help="modules that are compiled side by side")
    parser.add_argument("--runs", type=pathlib.Path, help="of study: the study's directory")
    parser.add_argument("--budget", type=float, default=400.0, help="of study: seconds in all")
    parser.add_argument("--share", type=_share, default=(0, 1), metavar="I/N", help="of study: this is process I of N")
    parser.add_argument("--precision", choices=("float32", "tf32"), default="tf32", help="of study's training")
    parser.add_argument("--graphs", help="of study's training: one of `_pjrt.GRAPHS`; what `graphs` found the fastest")
    parser.add_argument(
        "--packed", type=pathlib.Path, help="of study: a folder that gets the finished runs as archives"
    )
    flags = parser.parse_args()
    flags.scratch.mkdir(parents=True, exist_ok=True)
    flags.graphs = flags.graphs or fastest_graphs(flags.scratch)
    globals()[flags.part](flags)


if __name__ == "__main__":
    main()
