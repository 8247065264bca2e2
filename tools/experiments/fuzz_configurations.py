"""Configurations with random mistakes: each must be taken, or refused with one message and nothing written.

    PYTHONPATH=.:tests tools/run python tools/experiments/fuzz_configurations.py --count=500 --data_dir=DIR

Each configuration is a gin file of the project with one to three mutations: another value, a misspelt name, a line
deleted, doubled or cut, a byte changed. `python -m tfjc.train --dry_run` reads it; every tenth one trains two steps
on digits. Prints every fault, and exits with 1 if there was one: a traceback, a status other than 0 and 2 (1 where
training diverged), a refusal without a message, a file that a refused configuration left, more than `--seconds`.
"""

import argparse
import collections
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import forks

ROOT = pathlib.Path(__file__).resolve().parents[2]
VALUES = (
    *("0", "-1", "1", "2", "3", "7", "64", "1000000000", "-0.5", "0.5", "1e-30", "1e30", "1e999", "True", "None"),
    *("''", "'abc'", "'mnist'", "'wasserstein'", "[]", "[1]", "(1, 2)", "{}", "{'a': 1}", "[None]", "['adam', 1000]"),
    *("@GAN", "@GAN()", "@dataset", "@JacobianClamping", "@JacobianClamping()", "[@JacobianClamping()]", "[@R1()]"),
    *("@Adam()", "@Adam", "@ClassifierEvaluator", "[(@ClassifierEvaluator, 0)]", "[(@MissingModes, 10)]", "@dcgan"),
    *("%undefined", "@nothing", "adam", "[1, ", "'", "3 +", "λ", "@train_and_evaluate()", "@VAE", "@mlp", "1 2"),
)
SMALL = (
    *("train_and_evaluate.steps = 2", "train_and_evaluate.eval_every = 2", "train_and_evaluate.eval_latents = 2"),
    *("train_and_evaluate.batch_size = 8", "train_and_evaluate.scores = []"),
)


def _bound(lines):
    """The numbers of the lines that bind a parameter."""
    return [i for i, line in enumerate(lines) if re.match(r"[\w/.]+ = ", line)]


def mutate(text, rng):
    """The text of a gin file with one mistake, and what it is."""
    lines = text.splitlines()
    bound = _bound(lines)
    i = rng.choice(bound)
    name, value = lines[i].split(" = ", 1)
    kind = rng.choice(("value", "value", "value", "value", "name", "parameter", "delete", "double", "cut", "byte"))
    if kind == "value":
        lines[i] = f"{name} = {rng.choice(VALUES)}"
    elif kind == "name":
        at = rng.randrange(len(name))
        lines[i] = f"{name[:at]}{rng.choice(('', 'x', '.', ' ', '/'))}{name[at + 1 :]} = {value}"
    elif kind == "parameter":
        other = lines[rng.choice(bound)].split(" = ", 1)[0]
        lines[i] = f"{other.rpartition('.')[0]}.{name.rpartition('.')[2]} = {value}"
    elif kind == "delete":
        del lines[i]
    elif kind == "double":
        lines.insert(i, lines[i])
    elif kind == "cut":
        lines[i:] = [lines[i][: rng.randrange(len(lines[i]))]]
    else:
        at = rng.randrange(len(lines[i]))
        lines[i] = lines[i][:at] + chr(rng.choice((0, 9, 27, 34, 40, 61, 64, 123, 0x3BB, 0x1F600))) + lines[i][at + 1 :]
    return "\n".join(lines) + "\n", f"{kind} of {name}"


def usable(path):
    """Whether a gin file binds parameters, and its data are at hand."""
    return bool(_bound(path.read_text().splitlines())) and not re.match("stl10|lsun", path.name)


def fault(done, folder, training):
    """What is wrong with how a process ended; None where nothing is."""
    said = done.stdout + done.stderr
    if "Traceback (most recent call last)" in said:
        return "traceback"
    if done.returncode not in ((0, 1, 2) if training else (0, 2)):
        return f"status {done.returncode}"
    if done.returncode == 2 and not re.search(r"^tfjc\.train: \S", done.stderr, re.MULTILINE):
        return "no message"
    if done.returncode == 2 and (folder / "runs").exists():
        return f"left {[path.name for path in (folder / 'runs').rglob('*')]}"
    return None


def once(number, rng, flags, folder):
    """Runs one configuration; returns (what was mutated, the exit status, the fault or None, the text, the output)."""
    training = number % 10 == 9
    files = [path for path in sorted((ROOT / "gin").glob("digits*.gin" if training else "*.gin")) if usable(path)]
    path = rng.choice(files)
    text, mutations = path.read_text(), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        if _bound(text.splitlines()):
            text, mutation = mutate(text, rng)
            mutations.append(mutation)
    (folder / "mutated.gin").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "tfjc.train", "--gin_file=mutated.gin", "--workdir=runs/a"]
    command += [f"--data_dir={flags.data_dir}"] if flags.data_dir else []
    command += [f"--gin_bindings={binding}" for binding in SMALL] if training else ["--dry_run"]
    process = forks.Process(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.wait(flags.seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        return path, mutations, None, f"more than {flags.seconds} s", text, ""
    done = subprocess.CompletedProcess(command, process.returncode, *process.communicate())
    return (
        path,
        mutations,
        done.returncode,
        fault(done, folder, training),
        text,
        done.stdout[-500:] + done.stderr[-3000:],
    )


def main():
    """Runs all configurations and prints what they came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--data_dir")
    flags = parser.parse_args()
    statuses, faults = collections.Counter(), 0
    for number in range(flags.count):
        with tempfile.TemporaryDirectory() as folder:
            rng = random.Random(f"{flags.seed} {number}")
            path, mutations, status, wrong, text, said = once(number, rng, flags, pathlib.Path(folder))
        statuses[status] += 1
        if wrong:
            faults += 1
            print(f"---- {number}: {path.name}, {', '.join(mutations)}: {wrong}\n{text}\n{said}", flush=True)
    print(f"{flags.count} configurations, statuses {dict(statuses)}, {faults} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
