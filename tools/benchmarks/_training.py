"""One training in a process of its own: a request in JSON as the argument, then how many steps to take, line by line.

Answers are lines of JSON: first the losses of the check, then what each turn took.
"""

import importlib
import json
import re
import sys
import time
from typing import NamedTuple

import numpy as np

BATCH, CHECKED = 64, 2  # samples of an update; steps that must agree between the frameworks
NAME = r"(dcgan|wgangp)([1-9]\d*)-([1-9]\d*)(?:-([1-9]\d*))?"


class Case(NamedTuple):
    """What is trained: DCGAN, on grey images of 28 pixels or coloured ones, or the class-conditional WGAN-GP ResNet."""

    network: str
    size: int
    channels: int
    critic_steps: int
    clamped: bool

    @property
    def is_dcgan(self):
        """Whether it is DCGAN, of the non-saturating loss; else WGAN-GP."""
        return self.network == "dcgan"

    @property
    def image_shape(self):
        """Of one image."""
        return self.size, self.size, 1 if self.is_grey else 3

    @property
    def is_grey(self):
        """Whether images are MNIST's, 28 pixels of DCGAN; else they have three colours."""
        return self.is_dcgan and self.size == 28

    @property
    def pyramid(self):
        """The smallest map's size, and channels for each halving down to it, DCGAN's: c, 2c, 4c, ..."""
        smallest, widths = self.size, []
        while smallest % 2 == 0 and smallest // 2 >= 4:
            smallest //= 2
            widths.append(self.channels << len(widths))
        return smallest, widths

    @property
    def n_z(self):
        """Size of the latent."""
        return 64 if self.is_grey else 128

    @property
    def generator_batch(self):
        """Samples of a generator update."""
        return BATCH if self.is_dcgan else 2 * BATCH

    @property
    def adam(self):
        """Learning rate, β₁, β₂, ε; with a smaller ε the rounding of gradients near 0 sets the sign of whole steps."""
        return (2e-4, 0.5, 0.999, 1e-4) if self.is_dcgan else (2e-4, 0.0, 0.9, 1e-4)


def case(name, clamped):
    """The case called dcgan28-64 (size, channels) or wgangp32-32-5 (and critic steps)."""
    network, size, channels, critic_steps = re.fullmatch(NAME, name).groups()
    return Case(network, int(size), int(channels), int(critic_steps or 1), clamped)


def main():
    """Checks a framework's training against the file, or writes that, then takes steps as told."""
    request = json.loads(sys.argv[1])
    module = importlib.import_module(f"_training_{request['framework']}")
    made = module.Training(case(request["case"], request["clamped"]), **request["options"])
    start = time.perf_counter()
    losses = made.export(request["file"]) if hasattr(made, "export") else _replayed(made, request["file"])
    _answer({"losses": losses, "first": time.perf_counter() - start, "device": module.device()})
    for line in sys.stdin:
        what, count = line.split()
        _answer(timed(getattr(made, what), int(count)))


def _replayed(made, file):
    """Losses of the first steps from the weights, images, labels and noise in `file`."""
    with np.load(file) as arrays:
        of = {name: [arrays[f"{name}.{i}"] for i in range(arrays[name])] for name in ("generator", "critic")}
        made.begin(of["generator"], of["critic"], arrays["images"], arrays["labels"])
        prefixes = [f"{step}." for step in range(CHECKED)]
        noises = [{k.removeprefix(p): arrays[k] for k in arrays.files if k.startswith(p)} for p in prefixes]
    return [made.check(noise) for noise in noises]


def timed(call, count):
    """Seconds and CPU seconds a step, and whatever else the call reports."""
    wall, cpu = time.perf_counter(), time.process_time()
    more = call(count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall / count, "cpu": cpu / count, **(more or {})}


def _answer(report):
    print("\n" + json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
