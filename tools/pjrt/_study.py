"""Whole runs of a study by a bundle's modules, with the records of a run directory."""

import collections
import concurrent.futures
import datetime
import functools
import json
import multiprocessing
import os
import pathlib
import platform
import tarfile
import time

import _records
import jax
import numpy as np
from _bundle import order
from _pjrt import Module, device_state
from PIL import Image

from tfjc.support import files
from tfjc.support.run_directory import RunDirectory

PACKED = 40  # runs in an archive
SLOW_EVERY = 5000  # steps between kernel distance, precision and recall, which take long; the last step has them too


def main(flags, bundle, output):
    """Trains all arms of a seed, of the next seed, ..., until all are trained or the time for another run is used up.

    Of N processes side by side, the I-th takes the seeds at the places I, I + N, ...
    """
    began, about = time.perf_counter(), bundle.manifest["study"]
    share, processes = flags.share
    study = Study(flags.runs, bundle, flags.packed, share)
    with _workers(processes) as executor, concurrent.futures.ThreadPoolExecutor(1) as closer:
        warm = [executor.submit(_records.ready) for _ in range(executor._max_workers)]
        trainer = _trainer(bundle, flags, executor, output)
        concurrent.futures.wait(warm)
        took, closing = [], []
        entries = about["seeds"][share::processes]
        for entry, arm in ((entry, arm) for entry in entries for arm in about["study"]["arms"]):
            left = flags.budget - (time.perf_counter() - began)
            if took and left < 1.15 * max(took) + trainer.tail:
                output(stopped=f"{arm}/{entry['seed']}", left=left, longest=max(took))
                break
            start = time.perf_counter()
            run = trainer.run(study, arm, entry)
            took.append(time.perf_counter() - start)
            closing.append(closer.submit(run.close, study, output))  # scores come while the next runs train
        for future in closing:
            if error := future.exception():
                output(failed="records", error=f"{type(error).__name__}: {str(error)[:500]}")
    study.pack()
    output(runs=len(took), seconds=time.perf_counter() - began, each=took)


def _trainer(bundle, flags, executor, output):
    """A `Trainer`; with the usual graphs where the device refuses those asked for."""
    try:
        return Trainer(bundle, flags, executor, output)
    except Exception as error:  # whatever a compiler raises
        if flags.graphs == "default":
            raise
        output(failed=f"graphs {flags.graphs}", error=f"{type(error).__name__}: {str(error)[:300]}")
        flags.graphs = "default"
        return Trainer(bundle, flags, executor, output)


def _workers(processes):
    """Processes for the scores' arithmetic, one thread each; `processes` trainings share the machine."""
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(threads, "1"))
    count = max(1, len(os.sched_getaffinity(0)) // processes - 3)
    return concurrent.futures.ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


class Trainer:
    """The compiled modules, and what all runs share on the device.

    Attributes:
      tail: seconds that a run's records may take after its last step.
    """

    def __init__(self, bundle, flags, executor, output):
        self.bundle, self.about, self._executor, self._output = bundle, bundle.manifest["study"], executor, output
        self.precision, self.tail = flags.precision, 0.05 * flags.budget
        make = functools.partial(Module, bundle)
        training = functools.partial(make, precision=flags.precision, graphs=flags.graphs)
        tasks = {arm: functools.partial(training, f"study/{arm}/many") for arm in self.about["study"]["arms"]}
        tasks |= {name: functools.partial(make, f"study/{name}", "float32") for name in ("conditioning", "classify")}
        with concurrent.futures.ThreadPoolExecutor(len(tasks)) as threads:
            futures = {name: threads.submit(task) for name, task in tasks.items()}
            self.modules = {name: future.result() for name, future in futures.items()}
        seconds = {name: module.seconds for name, module in self.modules.items()}
        output(compile=seconds, precision=flags.precision, graphs=flags.graphs)
        self.images = jax.device_put(bundle.arrays["study/images"])
        self._classifier = device_state(bundle.state("study/classifier"))
        self._real = bundle.arrays["study/real"]

    def run(self, study, arm, entry):
        """Trains a run to its end; its records are complete when `Run.close` has been called."""
        about, seed = self.about, entry["seed"]
        run = Run(study.directory(arm, seed), self, arm, seed)
        state = device_state({**self.bundle.state(f"study/{arm}"), **self.bundle.state(f"study/{seed}")})
        state = {name: state[name] for name in self._names(arm, state)}
        latents = [jax.device_put(self.bundle.arrays[f"study/{seed}.{name}"]) for name in ("z", "z_perturbed")]
        scored = jax.device_put(self.bundle.value(entry["scored"]))
        batch = self.modules[arm].entry["batch"]
        epochs, images = self.bundle.arrays[f"study/{seed}.epochs"], len(self.images)
        note = next(name for name in state if name.startswith("gan/1/"))  # of `export._with_seed`
        run.begin(latents[0])
        run.evaluate(0, self._measure(state, latents), self._classify(state, scored, 0), {})
        for done in range(0, about["steps"], about["eval_every"]):
            for first in range(done, done + about["eval_every"], about["updates"]):
                index = order(epochs, batch, first, about["updates"], images)
                losses, state = self.modules[arm](state, images=self.images, index=jax.device_put(index))
            step = done + about["eval_every"]
            measured, samples = self._measure(state, latents), self._classify(state, scored, step)
            run.evaluate(step, measured, samples, {**losses, "note": state[note] + 0})
            if run.diverged:
                break
            state |= self._zeros(state)
        run.finish(state)
        return run

    def _names(self, arm, state):
        """The variables of a state that an arm has: each of its own means."""
        needed = {p["name"] for m in (arm, "conditioning", "classify") for p in self.modules[m].parameters}
        return [name for name in state if name in needed]

    def _zeros(self, state):
        """The running means anew, as Keras sets them back when an epoch begins."""
        return {name: jax.numpy.zeros_like(value) for name, value in state.items() if name.startswith("mean/")}

    def _measure(self, state, latents):
        return self.modules["conditioning"](state, z=latents[0], z_perturbed=latents[1])[0]

    def _classify(self, state, scored, step):
        """Logits and features of the samples, on the device; None where none are due."""
        if step % self.about["score_every"] and step != self.about["steps"]:
            return None
        both, module = {**state, **self._classifier}, self.modules["classify"]
        at_once = next(p["shape"][0] for p in module.parameters if p["name"] == "z")
        parts = [module(both, z=scored[i : i + at_once])[0] for i in range(0, len(scored), at_once)]
        return [jax.numpy.concatenate([part[name] for part in parts]) for name in ("logits", "features")]

    def score(self, step, samples):
        """A future of the scores."""
        logits, features = (np.asarray(array) for array in samples)
        everything = step % SLOW_EVERY == 0 or step == self.about["steps"]
        names = self.about["name"], self.about["where"]
        return self._executor.submit(_records.scored, logits, features, self._real, *names, everything)


class Run:
    """The records of one run. What was measured is fetched when the next evaluation has been asked for."""

    def __init__(self, directory, trainer, arm, seed):
        self.directory, self._trainer, self.arm, self.seed = directory, trainer, arm, seed
        self.diverged = None
        self._pending, self._rows, self._spectra = collections.deque(), [], []

    def begin(self, z):
        """Makes the directory, with `run.json` and the configuration."""
        self._z, self._began = np.asarray(z), time.perf_counter()
        about = self._trainer.about
        directory = self.directory.create()
        for name, text in about["runs"][self.arm]["config"].items():
            files.write_text(directory.path / name, text)
        exported = self._trainer.bundle.manifest["session"]
        session = {
            **exported,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "device": f"{jax.devices()[0].device_kind} (modules of TensorFlow loaded by JAX {jax.__version__})",
            "loader": f"JAX {jax.__version__}, PJRT ({jax.devices()[0].client.platform_version.strip()[:80]})",
            "products": {"training": self._trainer.precision, "measurements": "float32"},
            "xla": True,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "step": 0,
        }
        directory.update_run(
            seed=self.seed,
            status="running",
            bindings=about["runs"][self.arm]["bindings"],
            sessions=[session],
            scores=about["scores"],
        )

    def evaluate(self, step, measured, samples, losses):
        """Notes an evaluation; the one before it is fetched now, while the device works on."""
        for array in (*measured.values(), *(samples or ()), *losses.values()):
            array.copy_to_host_async()
        self._pending.append((step, measured, samples, losses))
        if len(self._pending) > 1:
            self._fetch()

    def _fetch(self):
        step, measured, samples, losses = self._pending.popleft()
        measured, about = {name: np.asarray(array) for name, array in measured.items()}, self._trainer.about
        found = _records.spectrum(measured["metric_tensor"], measured["average"], about["epsilon"])
        self._spectra.append((step, found.singular_values, found.average_jacobian))
        losses = {name: float(value) for name, value in losses.items()}
        note = int(losses.pop("note", 0))
        if note:
            most = 1 << 20  # as tfjc.models._watch has it
            tensors = about["runs"][self.arm]["tensors"]
            self.diverged = {"step": note // most, "tensor": tensors[note % most - 1]}
            return
        line = {
            "step": step,
            "seconds": round(time.perf_counter() - self._began, 3),
            **_records.conditioning(found, measured["quotient"], *about["clamping"]),
        }
        self._rows.append((line, self._trainer.score(step, samples) if samples else None, losses))
        self._images, self._step = measured["images"], step

    def finish(self, state):
        """Fetches what is pending, and what is kept of the last state."""
        while self._pending and not self.diverged:
            self._fetch()
        self._seconds = time.perf_counter() - self._began
        kept = state if self.seed == 0 else {}
        self._generator = {n: np.asarray(v) for n, v in kept.items() if n.startswith("generator/")}

    def close(self, study, output):
        """Waits for the scores and writes everything."""
        directory = self.directory
        for line, future, losses in self._rows:
            losses = {name: value for name, value in losses.items() if name not in line}  # as `Recorder` has them
            directory.append_metrics({**line, **(future.result() if future else {}), **losses})
        for step, values, average in self._spectra:
            directory.write_spectrum(step, self._z, values, average)
        directory.samples.mkdir(exist_ok=True)
        Image.fromarray(_records.picture(self._images)).save(directory.samples / f"step_{self._step:08d}.png")
        if self._generator:
            np.savez_compressed(directory.path / "generator.npz", **self._generator)
        status = "diverged" if self.diverged else "finished"
        directory.update_run(status=status, diverged=self.diverged, wall_clock_seconds=self._seconds)
        study.add(directory)
        last = directory.read_metrics()[-1]
        names = ("step", "median_log_condition", "mean_log_condition", "classifier_score", "frechet_distance", "rank")
        found = {name: last[name] for name in names if name in last}
        found["quotient"] = last["quotient_quantiles"]["0.5"]
        output(arm=self.arm, seed=self.seed, status=status, seconds=self._seconds, **found)


class Study:
    """A study's directory, and a process's finished runs as archives of a few each, rewritten whenever one is added."""

    def __init__(self, path, bundle, packed, share):
        self.path, self._packed, self._share, self._runs = pathlib.Path(path), packed, share, []
        self._about = bundle.manifest["study"]["study"]

    def directory(self, arm, seed):
        """The `RunDirectory` of a run, as `tfjc.study` names it."""
        (self.path / "runs" / arm).mkdir(parents=True, exist_ok=True)
        begun = {seed, *(int(path.name.removeprefix("seed_")) for path in self.path.glob("runs/*/seed_*"))}
        files.write_text(self.path / "study.json", json.dumps({**self._about, "seeds": sorted(begun)}, indent=2) + "\n")
        return RunDirectory(self.path / "runs" / arm / f"seed_{seed:03d}")

    def add(self, directory):
        """Takes a finished run."""
        self._runs.append(directory.path)
        self.pack((len(self._runs) - 1) // PACKED)

    def pack(self, number=None):
        """Writes the archive of that number, or of the last one, with `study.json`."""
        if self._packed is None or not self._runs:
            return
        number = (len(self._runs) - 1) // PACKED if number is None else number
        self._packed.mkdir(parents=True, exist_ok=True)
        archive = self._packed / f"runs_{self._share}_{number}.tar.gz"
        with files.replacing(archive) as temporary, tarfile.open(temporary, "w:gz") as tar:
            for path in [self.path / "study.json", *self._runs[number * PACKED : (number + 1) * PACKED]]:
                tar.add(path, path.relative_to(self.path))
