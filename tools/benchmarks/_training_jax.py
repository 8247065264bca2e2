"""The same step in JAX, compiled as a whole."""

import functools

import jax
from _training import BATCH
from jax import lax
from jax import numpy as jnp

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class Training:
    """Two networks' weights, their optimisers' state and one batch."""

    def __init__(self, case):
        self.case = case
        self._replay = jax.jit(functools.partial(_step, case))
        self._draw_and_step = jax.jit(functools.partial(_drawn, case), donate_argnums=0)

    def begin(self, generator, critic, images, labels):
        """Takes over initial weights and the batch."""
        networks = {"generator": _weights(self.case, generator), "critic": _weights(self.case, critic)}
        counts = _normalised(self.case)
        for name, network in networks.items():
            network["scales"] = [jnp.ones(shape) for shape in counts[name]]
            network["offsets"] = [jnp.zeros(shape) for shape in counts[name]]
        zeros = functools.partial(jax.tree.map, jnp.zeros_like)
        self._state = {
            "weights": networks,
            "first": zeros(networks),
            "second": zeros(networks),
            "updates": {name: jnp.zeros((), jnp.int32) for name in networks},
            "moving": {name: [(jnp.zeros(s[-1]), jnp.ones(s[-1])) for s in counts[name]] for name in networks},
        }
        self._batch, self._key = (jnp.asarray(images), jnp.asarray(labels, jnp.int32)), jax.random.key(0)

    def check(self, noise):
        """The losses of a step with the noise given."""
        self._state, losses = self._replay(self._state, *self._batch, jax.tree.map(jnp.asarray, noise))
        return {name: float(value) for name, value in losses.items()}

    def step(self, count):
        """Takes steps on the batch."""
        for _ in range(count):
            self._state, self._key, losses = self._draw_and_step(self._state, self._key, *self._batch)
        jax.block_until_ready((self._state, losses))


def _weights(case, arrays):
    return {"kernels": [jnp.asarray(a) for a in arrays[::2]], "biases": [jnp.asarray(a) for a in arrays[1::2]]}


def _normalised(case):
    """The shapes of the scales of each network's normalisations, in order."""
    if case.is_dcgan:
        _, widths = case.pyramid
        return {"generator": [(width,) for width in reversed(widths)], "critic": [(width,) for width in widths[1:]]}
    blocks = case.pyramid[1]
    return {"generator": [(10, case.channels)] * 2 * len(blocks) + [(case.channels,)], "critic": []}


def _drawn(case, state, key, images, labels):
    """A step with noise of its own, and the next key."""
    key, *keys = jax.random.split(key, 7)
    directions = jax.random.normal(keys[0], [case.generator_batch, case.n_z])
    noise = {
        "critic_z": jax.random.normal(keys[1], [case.critic_steps, BATCH, case.n_z]),
        "generator_z": jax.random.normal(keys[2], [case.generator_batch, case.n_z]),
        "directions": directions / jnp.linalg.norm(directions, axis=1, keepdims=True),
        "alpha": jax.random.uniform(keys[3], [case.critic_steps, BATCH, 1, 1, 1]),
        "generator_labels": jax.random.randint(keys[4], [case.generator_batch], 0, 10),
        "dequantisation": jax.random.uniform(keys[5], images.shape) / 128,
    }
    state, losses = _step(case, state, images, labels, noise)
    return state, key, losses


def _step(case, state, images, labels, noise):
    """d critic updates and one of the generator: (state, losses)."""
    if case.is_dcgan:
        images = images.astype(jnp.float32) / 127.5 - 1
    else:
        images = images.astype(jnp.float32) / 128 - 1 + noise["dequantisation"]
    found = []
    for k in range(case.critic_steps):
        part = slice(k * BATCH, (k + 1) * BATCH)
        fake, moving = _generate(case, state, state["weights"]["generator"], noise["critic_z"][k], labels[part])
        state = _moved(state, "generator", moving)
        alpha = None if case.is_dcgan else noise["alpha"][k]
        objective = functools.partial(_critic_objective, case, state, images[part], fake, labels[part], alpha)
        state, losses = _update(case, state, "critic", objective)
        found.append(losses)
    losses = {name: sum(f[name] for f in found) / len(found) for name in found[0]}
    state, more = _update(case, state, "generator", functools.partial(_generator_objective, case, state, noise))
    return state, losses | more


def _critic_objective(case, state, real, fake, labels, alpha, weights):
    (logits, classes), moving = _judge(case, state, weights, real)
    (fake_logits, _), moving = _judge(case, _moved(state, "critic", moving), weights, fake)
    if case.is_dcgan:
        loss = jax.nn.softplus(-logits).mean() + jax.nn.softplus(fake_logits).mean()
        return loss, ({"critic_loss": loss}, {"critic": moving})
    slope = jax.grad(lambda x: _judge(case, state, weights, x)[0][0].sum())(real + alpha * (fake - real))
    penalty = 10 * jnp.square(jnp.sqrt(jnp.square(slope).sum((1, 2, 3))) - 1).mean()
    loss, class_loss = fake_logits.mean() - logits.mean(), _cross_entropy(classes, labels)
    losses = {"critic_loss": loss, "critic_penalty": penalty, "critic_class_loss": class_loss}
    return loss + penalty + class_loss, (losses, {"critic": moving})


def _generator_objective(case, state, noise, weights):
    z, labels, count = noise["generator_z"], noise.get("generator_labels"), case.generator_batch
    if case.clamped:
        z = jnp.concatenate([z, z + noise["directions"]])
        labels = None if case.is_dcgan else jnp.concatenate([labels, labels])
    images, moving = _generate(case, state, weights, z, labels)
    (logits, classes), of_critic = _judge(case, state, state["weights"]["critic"], images[:count])
    if case.is_dcgan:
        minimised = loss = jax.nn.softplus(-logits).mean()
        losses = {"generator_loss": loss}
    else:
        loss, class_loss = -logits.mean(), _cross_entropy(classes, labels[:count])
        losses, minimised = {"generator_loss": loss, "generator_class_loss": class_loss}, loss + 0.1 * class_loss
    if case.clamped:
        difference = images[:count] - images[count:]
        q = jnp.sqrt(jnp.square(difference).sum((1, 2, 3)))  # the step in z has length 1
        penalty = (jnp.square(jnp.maximum(q, 20) - 20) + jnp.square(jnp.minimum(q, 1) - 1)).mean()
        losses, minimised = losses | {"generator_penalty": penalty}, minimised + penalty
    return minimised, (losses, {"generator": moving, "critic": of_critic})


def _cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def _update(case, state, name, objective):
    """One step of Adam on the network called `name`."""
    weights = state["weights"][name]
    gradients, (losses, moving) = jax.grad(objective, has_aux=True)(weights)
    for network, values in moving.items():
        state = _moved(state, network, values)
    rate, beta_1, beta_2, epsilon = case.adam
    updates = state["updates"][name] + 1
    rate = rate * jnp.sqrt(1 - beta_2**updates) / (1 - beta_1**updates)
    first = jax.tree.map(lambda m, g: m + (1 - beta_1) * (g - m), state["first"][name], gradients)
    second = jax.tree.map(lambda v, g: v + (1 - beta_2) * (g * g - v), state["second"][name], gradients)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + epsilon), weights, first, second)
    parts = {"weights": weights, "first": first, "second": second, "updates": updates}
    return state | {part: state[part] | {name: value} for part, value in parts.items()}, losses


def _moved(state, network, values):
    return state | {"moving": state["moving"] | {network: values}}


class _Layers:
    """Takes a network's weights in the order in which the layers were made, and collects the moving statistics."""

    def __init__(self, weights, moving):
        self._linear = iter(zip(weights["kernels"], weights["biases"], strict=True))
        self._scales = iter(zip(weights["scales"], weights["offsets"], moving, strict=True))
        self.moving = []

    def dense(self, x):
        kernel, bias = next(self._linear)
        return x @ kernel + bias

    def convolution(self, x, stride=1):
        kernel, bias = next(self._linear)
        return lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=_LAYOUT) + bias

    def transposed(self, x):
        kernel, bias = next(self._linear)
        options = {"dimension_numbers": _LAYOUT, "transpose_kernel": True}
        return lax.conv_transpose(x, kernel, (2, 2), "SAME", **options) + bias

    def normalised(self, x, labels=None):
        scale, offset, (mean, variance) = next(self._scales)
        if scale.ndim == 2:
            scale, offset = scale[labels][:, None, None], offset[labels][:, None, None]
        own = x.mean((0, 1, 2)), x.var((0, 1, 2))
        self.moving.append((0.9 * mean + 0.1 * own[0], 0.9 * variance + 0.1 * own[1]))
        return (x - own[0]) * lax.rsqrt(own[1] + 1e-5) * scale + offset

    def up(self, x, labels):
        branch = _doubled(jax.nn.relu(self.normalised(x, labels)))
        branch = jax.nn.relu(self.normalised(self.convolution(branch), labels))
        branch = self.convolution(branch)
        return self.convolution(_doubled(x)) + branch

    def block(self, x, *, is_first=False, halves=False):
        branch = self.convolution(jax.nn.relu(self.convolution(x if is_first else jax.nn.relu(x))))
        if not halves:
            return x + branch
        shortcut = self.convolution(_halved(x)) if is_first else _halved(self.convolution(x))
        return shortcut + _halved(branch)


def _doubled(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def _halved(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4


def _generate(case, state, weights, z, labels):
    """(images, moving statistics) in training mode."""
    layers = _Layers(weights, state["moving"]["generator"])
    smallest, widths = case.pyramid
    x = layers.dense(z).reshape(len(z), smallest, smallest, -1)
    for _ in widths:
        x = layers.transposed(jax.nn.relu(layers.normalised(x))) if case.is_dcgan else layers.up(x, labels)
    if not case.is_dcgan:
        x = layers.convolution(jax.nn.relu(layers.normalised(x)))
    return jnp.tanh(x), layers.moving


def _judge(case, state, weights, x):
    """((logits, class logits or None), moving statistics) in training mode."""
    layers = _Layers(weights, state["moving"]["critic"])
    if case.is_dcgan:
        x = jax.nn.leaky_relu(layers.convolution(x, 2), 0.2)
        for _ in state["moving"]["critic"]:
            x = jax.nn.leaky_relu(layers.normalised(layers.convolution(x, 2)), 0.2)
        return (layers.dense(x.reshape(len(x), -1)), None), layers.moving
    x = layers.block(layers.block(x, is_first=True, halves=True), halves=True)
    x = jax.nn.relu(layers.block(layers.block(x))).mean((1, 2))
    return (layers.dense(x), layers.dense(x)), layers.moving


def device():
    """What JAX computes on."""
    return "GPU" if jax.default_backend() == "gpu" else "CPU"
