"""Times PyTorch on what `run.py` timed: metric tensors by torch.func.jacfwd, and training steps, of the same weights.

python tools/pjrt/peers.py metric BUNDLE --output metric.jsonl
python tools/pjrt/peers.py step BUNDLE --output step.jsonl --scratch FOLDER
python tools/pjrt/peers.py compiled BUNDLE --output step.jsonl --scratch FOLDER

`scratch` is the folder in which `run.py step` left what two updates drew and lost: the same losses must come out here.
"""

import argparse
import functools
import json
import pathlib
import statistics
import time

import numpy as np
import torch
from run import Output, _Metric, peer_arguments, relative, timed, wanted  # which also finds the modules of benchmarks

from _bundle import Bundle  # isort: skip

ON_GPU = torch.cuda.is_available()


def _wait(_):
    if ON_GPU:
        torch.cuda.synchronize()


def _device():
    return torch.cuda.get_device_name() if ON_GPU else "cpu"


def _set_tf32(allowed):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def metric(flags):
    """torch.func.jacfwd, then the product in float64, of the networks that jax.jacfwd was measured on."""
    bundle = Bundle(flags.bundle)
    output = Output(flags.output, part="metric", device=_device(), precision="float32")
    names = [name for name in bundle.manifest["metric"] if wanted(flags, name)]
    names.sort(key=lambda name: name.startswith("wgangp"))  # which takes the longest
    for compiled in (False, True):
        for name in names[:1] if compiled else names:
            try:
                _metric(_Metric(bundle, name), compiled, output)
            except Exception as error:  # memory, or what a compiler raises
                output(failed=name, method=_method(compiled), error=f"{type(error).__name__}: {str(error)[:300]}")
            if ON_GPU:
                torch.cuda.empty_cache()


def _method(compiled):
    return "torch.func.jacfwd" + (", torch.compile" if compiled else "")


def _metric(made, compiled, output):
    import _torch

    _set_tf32(False)
    network = _torch.Network(made.name, made.operations(), made.z)

    def metric_tensor(z):
        one = torch.func.jacfwd(lambda z: network._generate(z).flatten())
        j = torch.func.vmap(one)(z).double()
        return j.mT @ j

    function, start = torch.compile(metric_tensor) if compiled else metric_tensor, time.perf_counter()
    m = function(network._z).cpu().numpy()
    first = time.perf_counter() - start
    seconds = timed(lambda: function(network._z), _wait)
    output(
        network=made.name,
        method=_method(compiled),
        seconds=seconds,
        flops_per_second=made.flops / statistics.median(seconds),
        error=relative(m[: len(made.reference)], made.reference),
        compile=first,
        latents=len(made.z),
        memory=torch.cuda.max_memory_allocated() if ON_GPU else None,
    )


def step(flags, compiled=False):
    """Training steps in eager mode, in float32 and with TF32."""
    bundle = Bundle(flags.bundle)
    output = Output(flags.output, part="step", device=_device())
    keys = [key for key in bundle.manifest["step"] if not key.endswith("bfloat16") and wanted(flags, key.split("/")[1])]
    keys = sorted(keys, key=lambda key: key.split("/")[2] != "clamped") if compiled else keys
    for tf32 in (False,) if compiled else (False, True):
        for key in keys:
            try:
                _step(bundle, key, tf32, compiled, output, flags.scratch)
            except Exception as error:  # what a compiler raises
                output(failed=key, error=f"{type(error).__name__}: {str(error)[:300]}")


def _step(bundle, key, tf32, compiled, output, scratch):
    import _training_torch

    _set_tf32(tf32)
    case, *arguments = peer_arguments(bundle, key)
    training = _training_torch.Training(case, compiled)
    training.begin(*arguments)
    start = time.perf_counter()
    difference = _compared(training, scratch / (key.replace("/", "-") + ".npz"))
    training.step(2)
    first = time.perf_counter() - start
    seconds = timed(functools.partial(training.step, 10), _wait)
    output(
        network=key.split("/")[1],
        clamped=case.clamped,
        method="PyTorch, " + ("compiled" if compiled else "eager"),
        precision="tf32" if tf32 else "float32",
        updates=1,
        seconds=[s / 10 for s in seconds],
        compile=first,
        difference=difference,
    )


def _compared(training, file):
    """How far the losses of two updates are from ours at most, relative where these are above 1; None if unknown."""
    if not file.exists():
        return None
    with np.load(file) as saved:
        ours = json.loads(str(saved["losses"]))
        noises = [{name[2:]: saved[name] for name in saved.files if name.startswith(f"{i}.")} for i in range(len(ours))]
    theirs = [training.check(noise) for noise in noises]
    pairs = [(its[name], mine[name]) for its, mine in zip(theirs, ours, strict=True) for name in its]
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)


def main():
    """Runs the part that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("metric", "step", "compiled"))
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--networks", nargs="+", help="these alone, as the bundle names them")
    parser.add_argument("--output", type=pathlib.Path)
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("/tmp/tfjc"))
    flags = parser.parse_args()
    {"metric": metric, "step": step, "compiled": functools.partial(step, compiled=True)}[flags.part](flags)


if __name__ == "__main__":
    main()
