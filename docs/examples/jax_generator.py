"""The spectrum of a generator in JAX: copy the lines between the two rules.

    pip install jax && python docs/examples/jax_generator.py

J is taken by forward accumulation, one column for each latent number, and vectorised over latents. On GPUs and TPUs JAX
rounds products more coarsely than float32: ask for full precision, as below, or name the precision by `epsilon`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import LinearOperator

import tfjc

N_Z, HIDDEN = 16, 64
keys = jax.random.split(jax.random.key(0), 3)
first, last = jax.random.normal(keys[0], [HIDDEN, N_Z]) / 4.0, jax.random.normal(keys[1], [8 * 8, HIDDEN]) / 8.0


def generator(z):
    """One image [8, 8] in (−1, 1) for one latent z [16]."""
    return jnp.tanh(last @ jax.nn.relu(first @ z)).reshape(8, 8)


def main():
    """Prints what the spectra are like; returns the whole and the partial spectrum."""
    # ---- what measuring takes -----------------------------------------------------------------------------------
    z = jax.random.normal(keys[2], [32, N_Z])
    with jax.default_matmul_precision("highest"):
        jacobian = jax.vmap(jax.jacfwd(lambda z: generator(z).ravel()))(z)  # [B, n_x, n_z]
    spectrum = tfjc.geometry.spectrum_of(jacobian)
    print(f"mean ln κ(M_z) {spectrum.mean_log_condition:.2f}, rank {spectrum.rank.mean():.1f} of {N_Z}")
    spectrum.plot().figure.savefig("spectra.png")

    # Where J is too large: products Jv and Jᵀu at one latent.
    def flat(z):
        return generator(z).ravel()

    (x, push), (_, pull) = jax.linearize(flat, z[0]), jax.vjp(flat, z[0])
    one = LinearOperator(
        (x.size, N_Z), matvec=lambda v: push(np.ravel(v)), rmatvec=lambda u: pull(np.ravel(u))[0], dtype=np.float32
    )
    partial = tfjc.geometry.partial_spectrum(one, k=4)
    # -------------------------------------------------------------------------------------------------------------
    print(f"σ_max {partial.sigma_max[0]:.3f}, tr M_z {partial.trace.value[0]:.3f} ± {partial.trace.error[0]:.3f}")
    return spectrum, partial


if __name__ == "__main__":
    main()
