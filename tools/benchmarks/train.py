"""Times training steps beside the same steps in PyTorch and JAX, and prints a table of ratios.

tools/run python tools/benchmarks/train.py --output FILE
tools/run python tools/benchmarks/train.py --cases dcgan28-64 wgangp32-32-1 wgangp32-32-5
tools/run python tools/benchmarks/train.py --precisions float32 bfloat16

Each framework trains in a process of its own, all from the same weights; the losses of the first steps must agree. One
process works at a time: they take turns of a few seconds, so that a drift of the machine's speed meets all alike.
PyTorch and JAX are measured where they are installed: pip install -e '.[bench]'.
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import math
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

from _training import BATCH, CHECKED, NAME, case
from jacobian import _output, _positive, machine, markdown

HERE = pathlib.Path(__file__).resolve().parent
OURS, LOOP = "tfjc", "tfjc, fit with callbacks"
# glibc told to keep freed memory: else PyTorch spends a tenth of its time on page faults (TensorFlow and JAX none).
_KEPT = {"MALLOC_TRIM_THRESHOLD_": str(1 << 32), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
FRAMEWORKS = {  # module, options, environment: as they come, and PyTorch once more with glibc's settings
    OURS: ("tfjc", {}, {}),
    "PyTorch, eager": ("torch", {"compiled": False}, {}),
    "PyTorch, eager, memory kept": ("torch", {"compiled": False}, _KEPT),
    "PyTorch, compiled": ("torch", {"compiled": True}, {}),
    "JAX, jit": ("jax", {}, {}),
}
# What each precision passes to a training, and how far its losses of the first steps may be from ours in the first
# precision asked for, relative where these are above 1. JAX is measured in float32 alone.
PRECISIONS = {"float32": ({}, 1e-4), "bfloat16": ({"precision": "bfloat16"}, 0.05)}
COLUMNS = ["network", "clamped", "precision", "framework", "steps/s", "images/s", "CPU ms/step", "ours ÷ it"]
COLUMNS += ["÷ unclamped", "CPU, float32 ÷ it", "first steps [s]", "Δ loss"]


def main():
    """Measures what the flags ask for, and prints and writes the table."""
    flags = _parse_flags()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.cases:
            results |= _measured(flags, name, pathlib.Path(folder))
    if flags.check:
        return
    rows = [COLUMNS, *(_cells(results, *key) for key in results)]
    document = "\n".join([_heading(flags, results), "", *markdown(rows, left=4), "", *_targets(results)])
    print(document)
    if flags.output:
        flags.output.write_text(f"# Training steps, measured\n\n{document}\n", encoding="utf-8")


def _parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--cases", nargs="+", type=_case, metavar="CASE", help="dcgan28-CHANNELS or wgangp32-CHANNELS-CRITICSTEPS")
    add("--frameworks", nargs="+", choices=FRAMEWORKS, metavar="NAME", help=f"of {'; '.join(FRAMEWORKS)}")
    add("--precisions", nargs="+", choices=PRECISIONS, default=["float32"], help="bfloat16: mixed policy, autocast")
    add("--rounds", type=_positive, default=7, help="turns of each process")
    add("--seconds", type=_positive, default=4, help="of a turn, about")
    add("--check", action="store_true", help="only compare the losses of the first steps")
    add("--quick", action="store_true", help="narrow networks, two rounds, short turns: to see that all works")
    add("--output", type=_output, help="a Markdown file to write")
    flags = parser.parse_args()
    flags.cases = flags.cases or (["dcgan28-8", "wgangp32-4-1"] if flags.quick else ["dcgan28-64", "wgangp32-32-1"])
    if flags.quick:
        flags.rounds, flags.seconds = 2, 0.3
    peers = [name for name in flags.frameworks or FRAMEWORKS if name != OURS]
    flags.frameworks = [OURS, *(name for name in peers if importlib.util.find_spec(FRAMEWORKS[name][0]))]
    return flags


def _case(name):
    if not re.fullmatch(NAME, name):
        raise argparse.ArgumentTypeError(f"must be such as dcgan28-64 or wgangp32-32-5, found {name!r}")
    return name


def _measured(flags, name, folder):
    """{(case, clamped, precision, framework): its report and turns} of one case."""
    with contextlib.ExitStack() as stack:
        children, results = {}, {}
        for clamped, precision, framework in itertools.product((False, True), flags.precisions, flags.frameworks):
            if FRAMEWORKS[framework][0] == "jax" and precision != "float32":
                continue
            key = name, clamped, precision, framework
            children[key] = stack.enter_context(_Child(*key, folder))
            results[key] = {**children[key].report, "turns": []}
            _compare(key, results[key], results[name, clamped, flags.precisions[0], OURS]["losses"])
            if framework == OURS:
                loop = name, clamped, precision, LOOP
                children[loop], results[loop] = children[key], {"turns": []}
        if not flags.check:
            _take_turns(flags, children, results)
    return results


def _take_turns(flags, children, results):
    """Has each take steps in its turn; the first round only finds out how many."""
    counts = {}
    for _, key in itertools.product(range(flags.rounds + 1), children):
        report = children[key].take("loop" if key[3] == LOOP else "step", counts.get(key, 3))
        if key in counts:
            results[key]["turns"].append(report)
            _progress(*key, f"a step {report['seconds']:.4g} s, CPU {report['cpu']:.4g} s")
        counts.setdefault(key, max(3, round(flags.seconds / report["seconds"])))


def _compare(key, report, ours):
    """Notes how far the losses of the first steps are from ours; ends the program where they are not the same."""
    pairs = [(its[name], mine[name]) for its, mine in zip(report["losses"], ours, strict=True) for name in its]
    report["difference"] = max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs)
    if not report["difference"] <= PRECISIONS[key[2]][1]:
        sys.exit(f"train.py: error: {key[3]} in {key[2]} computes something else: {report['losses']}, ours is {ours}")
    _progress(*key, f"first steps {report['first']:.1f} s, losses within {report['difference']:.0e}")


def _progress(name, clamped, precision, framework, what):
    print(f"{name} {'clamped  ' if clamped else 'unclamped'} {precision:8} {framework:27} {what}", file=sys.stderr)


class _Child:
    """A training in a process of its own, idle until it is told to take steps."""

    def __init__(self, name, clamped, precision, framework, folder):
        module, options, memory = FRAMEWORKS[framework]
        request = {"framework": module, "options": options | PRECISIONS[precision][0], "case": name, "clamped": clamped}
        request["file"] = str(folder / f"{name}-{clamped}-{precision}.npz")
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **memory, **os.environ}
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors, "text": True}
        self._process = subprocess.Popen(
            [sys.executable, HERE / "_training.py", json.dumps(request)], env=environment, **pipes
        )
        self.report = self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def take(self, what, count):
        """Seconds a step of `count` steps."""
        time.sleep(0.3)  # another's worker threads may still spin
        self._process.stdin.write(f"{what} {count}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self._errors.seek(0)
        sys.exit(f"train.py: error: {' '.join(self._process.args[2:])}\n{self._errors.read()[-2000:]}")


def _heading(flags, results):
    devices = sorted({report["device"] for report in results.values() if "device" in report})
    return (
        f"{machine()}, computed on {', '.join(devices)}.\n"
        f"Batches of {BATCH}. Medians of {flags.rounds} turns of about {flags.seconds} s, ratios within one; "
        f"images are the real ones.\nΔ loss: largest difference of a loss in the first {CHECKED} steps to ours "
        f"in {flags.precisions[0]}, relative where that is above 1.\nMade by `python {shlex.join(sys.argv)}`."
    )


def _cells(results, name, clamped, precision, framework):
    key, ours, unclamped = (name, clamped, precision, framework), framework in (OURS, LOOP), (name, False, precision)
    in_float32, report = (name, clamped, "float32", framework), results[key]
    is_compared = precision != "float32" and in_float32 in results
    seconds = _median(results, key)
    images = BATCH * case(name, clamped).critic_steps
    numbers = [
        (1 / seconds, ".2f"),
        (images / seconds, ".0f"),
        (1e3 * _median(results, key, "cpu"), ".1f"),
        (None if ours else _ratio(results, key, (name, clamped, precision, OURS)), ".2f"),
        (_ratio(results, key, (*unclamped, framework)) if clamped else None, ".2f"),
        (_ratio(results, in_float32, key, "cpu") if is_compared else None, ".2f"),
        (None if framework == LOOP else report["first"], ".1f"),
        (report.get("difference") or None, ".0e"),
    ]
    cells = ["" if value is None else format(value, form) for value, form in numbers]
    return [name, "yes" if clamped else "no", precision, framework, *cells]


def _median(results, key, what="seconds"):
    return statistics.median(turn[what] for turn in results[key]["turns"])


def _ratio(results, key, other, what="seconds"):
    """Median over the rounds of one's time a step in terms of the other's."""
    turns = zip(results[key]["turns"], results[other]["turns"], strict=True)
    return statistics.median(mine[what] / its[what] for mine, its in turns)


def _targets(results):
    """What is to be reached and what was, a line each."""
    lines = []
    for name, clamped, precision in dict.fromkeys(key[:3] for key in results):
        text = f"{name}, {'clamped' if clamped else 'unclamped'}, {precision}: "
        keys = [key for key in results if key[:3] == (name, clamped, precision)]
        ours, loop = ((name, clamped, precision, who) for who in (OURS, LOOP))
        for environment, of in (({}, "the fastest peer's"), (_KEPT, "PyTorch's with memory kept")):
            peers = [key for key in keys if key not in (ours, loop) and FRAMEWORKS[key[3]][2] == environment]
            if peers:
                ratio = min(_ratio(results, key, ours) for key in peers)
                lines.append(_target(f"{text}steps/s ÷ {of}", ratio, least=1.25))
        if clamped:
            cost = _ratio(results, ours, (name, False, precision, OURS))
            lines.append(_target(text + "time of a step ÷ unclamped", cost, most=1.35))
        share = 1 - 1 / _ratio(results, loop, ours)
        lines.append(_target(text + "input pipeline and callbacks, share of a step", share, most=0.03))
        evaluation = statistics.median(turn["evaluation"] for turn in results[loop]["turns"])
        lines.append(f"- {text}an evaluation, checkpoint included: {evaluation:.2g} s")
    return lines


def _target(text, ratio, *, least=-math.inf, most=math.inf):
    bound = f"at most {most}" if most < math.inf else f"at least {least}"
    return f"- {text}: {ratio:.3g}, to be {bound}: {'reached' if least <= ratio <= most else 'missed'}"


if __name__ == "__main__":
    main()
