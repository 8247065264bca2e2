"""A one-dimensional GAN of two fully connected networks as a field, and random planes through its bias space."""

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tfjc.dynamics import expectations
from tfjc.dynamics._field import Field
from tfjc.dynamics.games import parameters
from tfjc.support import checks, noise

_BLOCK = 1 << 20  # activations of one layer in memory at once: 8 MiB of float64
_STEP = 1e-5  # h of central differences: the error is about 1e-10, from h² and from rounding divided by h


@dataclasses.dataclass(frozen=True)
class MLPGAN:
    """The GAN of two networks 1 → width → width → 1 with tanh, on data N(0, 1) and latents z ~ N(0, 1).

    With d = σ(D(x)), L_d = mean −ln d(x) + mean −ln(1 − d(G(z))) and L_g = mean ln(1 − d(G(z))), over samples that are
    drawn once. θ holds all weights and biases, first the generator's, then the critic's: W1 [1, width], b1,
    W2 [width, width], b2, W3 [width, 1], b3, each flattened by rows. The field is minus the gradients, computed by
    backpropagation. Source: Guttenberg 2016, "Speculation on an Extension to Large Networks" (two layers of 100; the
    activation is not named there).

    Args:
      width: number of units of each hidden layer.
      samples: number of data, and number of latents.
      seed: seed of data, latents and `initial`.

    Raises:
      ValueError: an argument is out of range.
    """

    width: int = 100
    samples: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "samples"):
            checks.integer(name, getattr(self, name), minimum=1)
        checks.integer("seed", self.seed, minimum=0)

    @functools.cached_property
    def _layout(self):
        """(network, array, shape) of each array of θ in its order."""
        h = self.width
        arrays = {"W1": (1, h), "b1": (h,), "W2": (h, h), "b2": (h,), "W3": (h, 1), "b3": (1,)}
        return [(net, array, shape) for net in ("G", "D") for array, shape in arrays.items()]

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters: "G.W1[0, 0]", "G.b1[0]", ..., "D.b3[0]"."""
        return tuple(
            f"{net}.{array}{list(index)}" for net, array, shape in self._layout for index in np.ndindex(*shape)
        )

    @functools.cached_property
    def biases(self) -> np.ndarray:
        """The indices of both networks' biases in θ."""
        return np.array([k for k, name in enumerate(self.names) if name[2] == "b"])

    def initial(self) -> np.ndarray:
        """Initial θ [n]: weights N(0, 1/inputs), biases 0."""
        rng = noise.rng(self.seed, noise.Stream.GAME_WEIGHTS)
        drawn = [
            rng.standard_normal(shape) / np.sqrt(shape[0]) if array[0] == "W" else np.zeros(shape)
            for _, array, shape in self._layout
        ]
        return np.concatenate([array.reshape(-1) for array in drawn])

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """dθ/dt, [..., n] → [..., n]."""
        theta = parameters(theta, len(self.names))
        rows = theta.reshape(-1, theta.shape[-1])
        count = max(1, _BLOCK // (2 * self.samples * self.width))
        found = [self._block(rows[k : k + count]) for k in range(0, len(rows), count)]
        return np.concatenate(found).reshape(theta.shape) if found else np.zeros(theta.shape)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """∂ξ_i/∂θ_j, [..., n] → [..., n, n], by central differences: 2n evaluations, for narrow networks.

        With two layers of 100, n is 20,802 and a Jacobian takes 3.5 GB.
        """
        return central_jacobian(self, parameters(theta, len(self.names)))

    def _block(self, theta):
        arrays = np.split(theta, np.cumsum([np.prod(shape) for *_, shape in self._layout])[:-1], axis=-1)
        arrays = [a.reshape(-1, *shape) for a, (*_, shape) in zip(arrays, self._layout, strict=True)]
        generator, critic = arrays[:6], arrays[6:]
        streams = expectations.DATA_AND_LATENTS
        x, z = (expectations.draws(self.samples, self.seed, stream)[0][:, None] for stream in streams)
        *hidden, fake = _forward(generator, np.broadcast_to(z, [len(theta), *z.shape]))
        *seen, logits = _forward(critic, np.concatenate([np.broadcast_to(x, fake.shape), fake], axis=1))
        real, fake = np.split(logits, 2, axis=1)
        slopes = np.concatenate([-special.expit(-real), special.expit(fake)], axis=1) / self.samples
        of_critic, to_images = _backward(critic, seen, slopes)
        # L_g is minus the critic's loss on generated samples.
        of_generator, _ = _backward(generator, hidden, to_images[:, self.samples :])
        return np.concatenate([*of_generator, *(-gradient for gradient in of_critic)], axis=-1)


def _forward(network, x):
    """[x, hidden 1, hidden 2, output] of P networks, [P, samples, 1 or width] each."""
    W1, b1, W2, b2, W3, b3 = network
    first = np.tanh(x @ W1 + b1[:, None])
    second = np.tanh(first @ W2 + b2[:, None])
    return [x, first, second, second @ W3 + b3[:, None]]


def _backward(network, layers, slopes):
    """Backpropagates `slopes` of the output: (gradients of the six arrays, flattened [P, ·]; gradient of the input)."""
    gradients = []
    for k in (2, 1, 0):
        inputs, weights = layers[k], network[2 * k]
        gradients += [slopes.sum(axis=1), (inputs.swapaxes(1, 2) @ slopes).reshape(len(slopes), -1)]
        slopes = slopes @ weights.swapaxes(1, 2)
        if k:
            slopes *= 1.0 - np.square(inputs)
    return gradients[::-1], slopes


def central_jacobian(field: Field, theta: np.ndarray, directions: np.ndarray | None = None) -> np.ndarray:
    """∂ξ/∂θ along unit `directions` [K, n] (all axes by default), by central differences: [..., n, K]."""
    directions = np.eye(theta.shape[-1]) if directions is None else directions
    columns = [(field(theta + _STEP * d) - field(theta - _STEP * d)) / (2.0 * _STEP) for d in directions]
    return np.stack(columns, axis=-1)


@dataclasses.dataclass(frozen=True)
class RandomCut:
    """The projection of an `MLPGAN`'s field on a random plane of biases through the initial θ_0.

    The plane is θ_0 + u·e_1 + v·e_2 with random orthonormal e_1, e_2 that are 0 at all weights. The field is
    (e_1·ξ, e_2·ξ). A zero of this field need not be a zero of ξ; `out_of_plane` measures the omitted part of ξ.
    Source: Guttenberg 2016, "Speculation on an Extension to Large Networks".

    Args:
      game: the GAN.
      seed: seed of the plane.

    Raises:
      ValueError: the seed is negative.
    """

    game: MLPGAN
    seed: int = 0

    names = ("u", "v")

    def __post_init__(self) -> None:
        checks.integer("seed", self.seed, minimum=0)

    @functools.cached_property
    def basis(self) -> np.ndarray:
        """(e_1, e_2), [2, n]."""
        drawn = noise.rng(self.seed, noise.Stream.PLANE).standard_normal([len(self.game.biases), 2])
        basis = np.zeros([2, len(self.game.names)])
        basis[:, self.game.biases] = np.linalg.qr(drawn)[0].T
        return basis

    @functools.cached_property
    def _origin(self):
        return self.game.initial()

    def __call__(self, theta: ArrayLike) -> np.ndarray:
        """d(u, v)/dt in the plane, [..., 2] → [..., 2]."""
        return self._blocks(theta, lambda full: full @ self.basis.T)

    def jacobian(self, theta: ArrayLike) -> np.ndarray:
        """The Jacobian by (u, v) in the plane, [..., 2] → [..., 2, 2], by central differences of the field."""
        return central_jacobian(self, parameters(theta, 2))

    def out_of_plane(self, theta: ArrayLike) -> np.ndarray:
        """The share of ‖ξ‖ out of the plane, √(1 − ‖(e_1·ξ, e_2·ξ)‖²/‖ξ‖²), [..., 2] → [..., 2], from 0 to 1.

        The first share is that of ξ restricted to the biases, the second that of ξ over all parameters.
        """

        def shares(full):
            within = np.sum(np.square(full @ self.basis.T), axis=-1)
            norms = [np.sum(np.square(part), axis=-1) for part in (full[:, self.game.biases], full)]
            return np.stack([np.sqrt(np.maximum(0.0, 1.0 - within / norm)) for norm in norms], axis=-1)

        return self._blocks(theta, shares)

    def _blocks(self, theta, of_full):
        """`of_full` ([rows, n] → [rows, 2]) of the field ξ, for 64 points at a time to bound memory."""
        theta = parameters(theta, 2)
        rows = theta.reshape(-1, 2)
        found = [of_full(self.game(self._origin + rows[k : k + 64] @ self.basis)) for k in range(0, len(rows), 64)]
        return np.concatenate(found).reshape(theta.shape) if found else np.zeros(theta.shape)
