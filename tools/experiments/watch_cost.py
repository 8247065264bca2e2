"""What it costs to look for tensors that are not finite: in a training step, with and without in turns, and by itself.

    python tools/experiments/watch_cost.py --channels=24 --steps=300

One thread. The step is that of the clamped DCGAN of `gin/digits_jc.gin`. Prints the median difference of pairs of steps
in CPU time with a 95 % interval (bootstrap), and the least CPU time of the looking alone, in the step and on the host.
"""

import argparse
import time

import numpy as np
import scipy.stats
import tensorflow as tf

from tfjc import architectures, models, penalties

IMAGES = np.random.default_rng(0).integers(0, 256, size=(64, 28, 28, 1)).astype(np.uint8)


def make(channels, watched):
    """A model, and a function that makes one step of it and returns the seconds of CPU time."""
    networks = architectures.dcgan((28, 28, 1), n_z=64, channels=channels, seed=0)
    model = models.GAN(networks.generator, networks.critic, generator_penalties=[penalties.JacobianClamping()])
    if not watched:
        model.watch.look = model.watch.close = lambda *_: None
        model.watch.tell = lambda: None
    model.make_train_function()
    batches = iter(tf.data.Dataset.from_tensors(tf.constant(IMAGES)).repeat())

    def step():
        began = time.process_time()
        for value in model.train_function(batches).values():
            float(value)
        return time.process_time() - began

    return model, step


def alone(model):
    """(microseconds in a step, microseconds on the host) of the looking alone: tensors of the same shapes."""
    watch, weights = model.watch, [*model.generator.trainable_variables, *model.critic.trainable_variables]
    gradients, losses = [tf.Variable(v.value) for v in weights], [tf.Variable(1.0) for _ in range(6)]

    @tf.function(autograph=False)
    def looking():
        watch.look((f"loss {index}", loss.value()) for index, loss in enumerate(losses))
        watch.look_at_update(None, [gradient.value() for gradient in gradients], weights)
        watch.close(model.step)
        return tf.identity(model.step.value)

    nothing = tf.function(lambda: tf.identity(model.step.value), autograph=False)
    return least(looking) - least(nothing), least(watch.tell)


def least(function, calls=20, repetitions=40):
    """The least CPU time of a call, in microseconds."""
    times = []
    for _ in range(repetitions):
        began = time.process_time()
        for _ in range(calls):
            function()
        times.append((time.process_time() - began) / calls)
    return 1e6 * min(times[1:])


def main():
    """Measures both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    (_, plain), (model, watched) = make(arguments.channels, False), make(arguments.channels, True)
    pairs = np.array([(plain(), watched()) for _ in range(arguments.steps + 5)])[5:]
    differences, step = pairs[:, 1] - pairs[:, 0], np.median(pairs[:, 0])
    interval = scipy.stats.bootstrap([differences], np.median, rng=np.random.default_rng(0)).confidence_interval
    low, middle, high = (100 * value / step for value in (interval.low, np.median(differences), interval.high))
    print(f"{1e3 * step:.1f} ms of CPU time a step; when watched {middle:+.2f} % [{low:+.2f}, {high:+.2f}]")
    in_step, on_host = alone(model)
    print(
        f"alone {in_step:.0f} µs in the step, {on_host:.0f} µs on the host: {1e-4 * (in_step + on_host) / step:.2f} %"
    )


if __name__ == "__main__":
    main()
