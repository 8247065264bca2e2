"""One measurement in a process of its own: a request in JSON as the argument, a report in JSON as the last line."""

import importlib
import json
import pathlib
import resource
import sys
import time

import numpy as np

SLOW, REPEATS, PATIENCE = 5.0, 7, 10.0  # seconds of a call that is timed once; else calls, and seconds, at most


def main():
    """Answers one request; what goes wrong in the method measured is a report as well."""
    request = json.loads(sys.argv[1])
    pathlib.Path("/proc/self/oom_score_adj").write_text("1000")  # when memory ends, this process goes and no other
    try:
        report = _PARTS.get(request["method"], measure)(request)
    except Exception as error:  # any of four frameworks' out-of-memory and unsupported-operation errors
        message = str(error).strip() or repr(error)
        report = {"error": "failed", "reason": f"{type(error).__name__}: {message.splitlines()[0][:160]}"}
    print("\n" + json.dumps(report))


def measure(request):
    """Time and memory of one method on one network, after its forward pass was found right."""
    operations, z, images, flops = load(request["file"])
    framework, _, name = request["method"].rpartition(".")
    module = importlib.import_module(f"_{framework or 'tensorflow'}")
    network = module.Network(request["network"], operations, z)
    difference = np.abs(network.forward() - images).max()
    if not difference <= 1e-4:
        raise ValueError(f"G(z) differs from TensorFlow's by {difference:.1e}, more than 1e-4")
    report, value = measured(module, network.method(name), int(flops))
    return report if name == "naive" else report | compared(request, module.array(value))


def compared(request, jacobians):
    """Keeps J if it is the pullback's; else median and maximum of its relative distances to that, if it was kept.

    The maximum is 1e-3 where a ReLU's input is rounded to the other side of 0, as happens to one in 10⁶ units.
    """
    file = pathlib.Path(request["file"]).with_suffix(".npy")
    if request["method"] == "pullback":
        np.save(file, jacobians)
    elif file.exists():
        ours = np.load(file)
        distances = np.linalg.norm(jacobians - ours, axis=(1, 2)) / np.linalg.norm(ours, axis=(1, 2))
        return {"distances": [float(np.median(distances)), float(distances.max())]}
    return {}


def measure_part(request):
    """Time and memory of what belongs to no network of the table: the machine's limit, a training."""
    import _tensorflow

    return measured(_tensorflow, *getattr(_tensorflow, request["method"])())[0]


def export(request):
    """Writes a network's description, latents and images for the other children."""
    import _tensorflow

    _tensorflow.export(request["network"], request["file"], request["samples"])
    return {}


_PARTS = {"export": export, "matmul": measure_part, "spectrum": measure_part, "training": measure_part}


def load(file):
    """A network's operations with their weights, latents, the images they give, and the FLOPs of n_z passes."""
    with np.load(file) as arrays:
        operations = json.loads(str(arrays["operations"]))
        for place, operation in enumerate(operations):
            operation["weights"] = [arrays[f"{place}.{i}"] for i in range(operation["weights"])]
        return operations, arrays["z"], arrays["images"], arrays["flops"]


def scale_and_shift(operation):
    """Batch normalisation in inference mode as x·scale + shift, for frameworks that have it not as a function."""
    gamma, beta, mean, variance = operation["weights"]
    scale = gamma / np.sqrt(variance + operation["epsilon"])
    return scale, beta - mean * scale


def measured(module, call, flops):
    """A report on a call, and the value of its first run, which is apart from the others: it traces and compiles."""
    before = peak(module)
    first, value = _seconds(call)
    memory = {"peak": peak(module), "increase": peak(module) - before}  # not later: `value` is kept
    times = [_seconds(call)[0]]
    while times[0] < SLOW and len(times) < REPEATS and sum(times) < PATIENCE:
        times.append(_seconds(call)[0])
    return {"first": first, "times": times, "flops": flops, "device": module.device(), **memory}, value


def _seconds(call):
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def peak(module):
    """Bytes: the peak of the GPU's memory where there is one, else of this process."""
    on_gpu = module.gpu_peak()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if on_gpu is None else on_gpu


if __name__ == "__main__":
    main()
