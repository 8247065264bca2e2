"""The spectrum of a generator in PyTorch: copy the lines between the two rules.

    pip install torch && python docs/examples/torch_generator.py

J is taken by forward accumulation, one column for each latent number, and vectorised over latents. A generator in
bfloat16 or float16 has its J in that type: pass `jacobian.float()` with `epsilon=2**-7` or `2**-10`.
"""

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator

import tfjc

N_Z = 16
torch.manual_seed(0)
generator = torch.nn.Sequential(
    torch.nn.Linear(N_Z, 64), torch.nn.BatchNorm1d(64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.Tanh()
)


def main():
    """Prints what the spectra are like; returns the whole and the partial spectrum."""
    # ---- what measuring takes -----------------------------------------------------------------------------------
    generator.eval()  # batch normalisation would mix the latents of a batch
    z = torch.randn(32, N_Z)

    def flat(z):
        """The image of one latent [n_z], flattened."""
        return generator(z[None]).flatten()

    jacobian = torch.func.vmap(torch.func.jacfwd(flat))(z).detach().cpu()  # [B, n_x, n_z]
    spectrum = tfjc.geometry.spectrum_of(jacobian)
    print(f"mean ln κ(M_z) {spectrum.mean_log_condition:.2f}, rank {spectrum.rank.mean():.1f} of {N_Z}")
    spectrum.plot().figure.savefig("spectra.png")

    # Where J is too large: products Jv and Jᵀu at one latent.
    x, pull = torch.func.vjp(flat, z[0])

    def push(v):
        return torch.func.jvp(flat, (z[0],), (torch.from_numpy(np.ravel(v)),))[1].detach().numpy()

    one = LinearOperator(
        (len(x), N_Z),
        matvec=push,
        rmatvec=lambda u: pull(torch.from_numpy(np.ravel(u)))[0].detach().numpy(),
        dtype=np.float32,
    )
    partial = tfjc.geometry.partial_spectrum(one, k=4)
    # -------------------------------------------------------------------------------------------------------------
    print(f"σ_max {partial.sigma_max[0]:.3f}, tr M_z {partial.trace.value[0]:.3f} ± {partial.trace.error[0]:.3f}")
    return spectrum, partial


if __name__ == "__main__":
    main()
