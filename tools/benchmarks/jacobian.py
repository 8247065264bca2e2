"""Times the Jacobian methods beside each other, each in a process of its own, and prints a table of ratios.

tools/run python tools/benchmarks/jacobian.py --training --output FILE
tools/run python tools/benchmarks/jacobian.py --networks dcgan32-128 --methods pullback torch.jacfwd

PyTorch and JAX are measured where they are installed: pip install -e '.[bench]'.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import pathlib
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
NETWORKS = ["dcgan28-64", "dcgan28-100", "dcgan32-128", "resnet32-128"]
SWEEP = [f"dcgan32-{n_z}" for n_z in (16, 32, 64, 128, 256, 512)]
SWEPT = ["pullback", "forward", "naive", "torch.jacfwd", "jax.jacfwd"]  # the others take n_x passes whatever n_z is
METHODS = {
    "pullback": "tfjc, pullback",
    "forward": "tfjc, forward",
    "batch_jacobian": "tf.GradientTape.batch_jacobian",
    "naive": "G on B·n_z samples",
    "torch.jacfwd": "torch.func.jacfwd",
    "torch.jacrev": "torch.func.jacrev",
    "jax.jacfwd": "jax.jacfwd",
    "jax.jacrev": "jax.jacrev",
}
MATMUL, SPECTRUM, TRAINING = ("", "matmul"), ("", "spectrum"), ("", "training")
LABELS = METHODS | {
    "matmul": "float32 matrix product",
    "spectrum": "spectra of 64 latents",
    "training": "500 steps of mnist_small_jc",
}
COLUMNS = ["network", "method", "fastest [ms]", "median [ms]", "÷ pullback", "first call [s]"]
COLUMNS += ["GFLOP/s", "of matmul", "peak [MB]", "above network [MB]", "‖ΔJ‖/‖J‖"]


def main():
    """Measures what the flags ask for, and prints and writes the table."""
    flags = _parse_flags()
    with tempfile.TemporaryDirectory() as folder:
        results = _measure_all(flags, pathlib.Path(folder))
    document = "\n".join([_heading(flags, results), "", *_table(results), "", *_targets(results)])
    print(document)
    if flags.output:
        flags.output.write_text(f"# The Jacobian, measured\n\n{document}\n", encoding="utf-8")


def _parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--networks", nargs="*", type=_network, metavar="NETWORK", help="such as dcgan32-128 or dcgan32-128-CHANNELS")
    add("--methods", nargs="+", choices=METHODS, metavar="METHOD", help=f"of {', '.join(METHODS)}")
    add("--training", action="store_true", help="measure the spectrum's share of training time too")
    add("--samples", type=_positive, default=8, help="latents, B")
    add("--rounds", type=_positive, default=2, help="times that all methods are gone through")
    add("--timeout", type=_positive, default=600, help="seconds for one method in one round")
    add("--output", type=_output, help="a Markdown file to write")
    flags = parser.parse_args()
    missing = [method for method in flags.methods or [] if not _installed(method)]
    if missing:
        parser.error(f"{missing[0]} needs the package {missing[0].split('.')[0]}: pip install -e '.[bench]'")
    return flags


def _installed(method):
    return "." not in method or importlib.util.find_spec(method.split(".")[0]) is not None


def _network(name):
    if not re.fullmatch(r"(dcgan[1-9]\d*|resnet32)(-[1-9]\d*){1,2}", name):
        raise argparse.ArgumentTypeError(
            f"must be dcgan28, dcgan32, another size, or resnet32, with -n_z, found {name!r}"
        )
    return name


def _positive(text):
    if not re.fullmatch(r"[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, found {text!r}")
    return int(text)


def _output(name):
    path = pathlib.Path(name)
    if path.is_dir() or not path.absolute().parent.is_dir():  # better known before the measurement than after
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, found {name!r}")
    return path


def _measure_all(flags, folder):
    """Reports by (network, method), gone through in rounds, so that a drift of the machine's speed meets all alike."""
    networks = dict.fromkeys(NETWORKS + SWEEP if flags.networks is None else flags.networks)
    for name in networks:
        report = _ask(flags, folder, name, "export")
        if "error" in report:
            sys.exit(f"jacobian.py: error: {name}: {report['error']}, {report.get('reason', 'not measured')}")
    results = {}
    cases = [MATMUL, *((name, method) for name in networks for method in _methods(flags, name))]
    for case in flags.rounds * cases + flags.training * [SPECTRUM, TRAINING]:
        if "error" not in results.get(case, {}):  # what failed once is not tried again
            results[case] = _merged(results.get(case), _ask(flags, folder, *case))
            print("{:14} {:15}".format(*case), _progress(results[case]), file=sys.stderr)
    return results


def _methods(flags, network):
    chosen = flags.methods or (METHODS if flags.networks or network in NETWORKS else SWEPT)
    return list(filter(_installed, chosen))


def _ask(flags, folder, network, method):
    """A child's report; of one that did not live to give it, what became of it."""
    request = {"network": network, "method": method, "samples": flags.samples, "file": str(folder / f"{network}.npz")}
    command = [sys.executable, HERE / "_child.py", json.dumps(request)]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    timeout = None if method == "export" else flags.timeout
    try:
        child = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"over {timeout} s"}
    if child.returncode == -signal.SIGKILL:
        return {"error": "killed, for memory"}  # by the kernel: nothing else sends that signal here
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        return {"error": "failed", "reason": f"ended with {child.returncode}: {last[:160]}"}
    return json.loads(child.stdout.splitlines()[-1])


def _merged(before, report):
    if "error" in report:
        return report
    times = [*(before["times"] if before else []), *report["times"]]
    worst = {key: max((before or report)[key], report[key]) for key in ("peak", "increase", "first")}
    rate = {"rate": report["flops"] / min(times)} if report["flops"] else {}
    return {**report, **worst, **rate, "times": times, "fastest": min(times)}


def _progress(report):
    if "error" in report:
        return ", ".join(filter(None, [report["error"], report.get("reason")]))
    return f"{report['fastest']:.3g} s, the first call {report['first']:.3g} s"


def _heading(flags, results):
    devices = sorted({report["device"] for report in results.values() if "device" in report})
    return (
        f"{machine()}, computed on {', '.join(devices)}.\n"
        f"B = {flags.samples} latents, float32 (no TF32). GFLOP/s count n_z passes through the linear layers, "
        "2·B·n_z·MACs, whatever a method does.\nRatios are of the fastest calls. "
        "‖ΔJ‖/‖J‖: distance to the pullback's J, median to maximum over latents (1e-3: rounding switched a ReLU).\n"
        f"Made by `python {shlex.join(sys.argv)}`."
    )


def machine():
    """The date, the processor and the versions."""
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    versions = [f"{name} {installed[name]}" for name in ("tensorflow", "keras", "torch", "jax") if name in installed]
    cpu = re.search(r"model name\s*: (.+)", pathlib.Path("/proc/cpuinfo").read_text())
    return (
        f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores of {cpu[1] if cpu else platform.machine()}; "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def markdown(rows, left):
    """A table in Markdown, padded to be read as it is; the first `left` columns are text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{cell:{'<' if i < left else '>'}{widths[i]}}" for i, cell in enumerate(row)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if i < left else ":") for i, width in enumerate(widths)) + "|"
    return [lines[0], rule, *lines[1:]]


def _table(results):
    lines = markdown([COLUMNS, *(_cells(results, *case) for case in results)], left=2)
    reasons = [
        f"- {n} {LABELS[m]}: {r['reason']}".replace("-  ", "- ") for (n, m), r in results.items() if "reason" in r
    ]
    return [*lines, *([""] if reasons else []), *reasons]


def _cells(results, network, method):
    report, case = results[network, method], (network, method)
    if "error" in report:
        return [network, LABELS[method], report["error"]] + [""] * (len(COLUMNS) - 3)
    numbers = [
        (1e3 * report["fastest"], ".1f"),
        (1e3 * statistics.median(report["times"]), ".1f"),
        (_ratio(results, "fastest", case, (network, "pullback")), ".3g"),
        (report["first"], ".2f"),
        (report["rate"] / 1e9 if "rate" in report else None, ".3g"),
        (_ratio(results, "rate", case, MATMUL), ".1%"),
        (report["peak"] / 1e6, ".0f"),
        (report["increase"] / 1e6, ".0f"),
    ]
    cells = ["" if value is None else format(value, form) for value, form in numbers]
    return [network, LABELS[method], *cells, " to ".join(f"{d:.0e}" for d in report.get("distances", []))]


def _ratio(results, key, case, other):
    """`key` of one case in terms of the other's, or None where one was not measured."""
    mine, its = (results.get(c, {}).get(key) for c in (case, other))
    return mine / its if mine and its else None


def _targets(results):
    """What is to be reached and what was, a line each, as far as it was measured."""
    lines = _target(results, "spectra of 64 latents ÷ 500 training steps", SPECTRUM, TRAINING, most=0.05)
    case, text = ("dcgan32-128", "pullback"), "pullback at dcgan32-128 ÷ "
    lines += _target(results, text + "torch.func.jacfwd", case, (case[0], "torch.jacfwd"), most=0.7)
    lines += _target(results, text + "batch_jacobian", case, (case[0], "batch_jacobian"), most=0.05)
    lines += _target(results, text + "matrix product, FLOP/s", case, MATMUL, least=0.75, key="rate")
    measured = [name for name in SWEEP if "fastest" in results.get((name, "pullback"), {})]
    ends = [(measured[0], measured[-1])] if len(measured) > 2 else []
    for low, high in [*itertools.pairwise(measured), *ends]:
        more = int(high.split("-")[1]) / int(low.split("-")[1])
        lines += _target(results, f"pullback at {high} ÷ {low}", (high, "pullback"), (low, "pullback"), most=more)
    return lines


def _target(results, text, case, other, *, least=0.0, most=math.inf, key="fastest"):
    ratio = _ratio(results, key, case, other)
    if ratio is None:
        return []
    bound = f"at least {least}" if least else f"at most {most}"
    return [f"- {text}: {ratio:.3g}, to be {bound}: {'reached' if least <= ratio <= most else 'missed'}"]


if __name__ == "__main__":
    main()
