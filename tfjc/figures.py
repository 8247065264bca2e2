"""Figures drawn from records alone, without TensorFlow."""

import os

from matplotlib.figure import Figure

from tfjc import records


def conditioning(rows, path):
    """Draws the log-condition number at each fixed latent and its mean, and the quotient's quantiles, over training.

    `rows` are those of `metrics.jsonl`; the picture (PNG, 120 dpi) goes to `path`. Odena et al. 2018, figures 1 and 2.
    """
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [row["log_condition"] for row in rows], color="tab:blue", alpha=0.15, linewidth=0.8)
    left.plot(steps, [row["mean_log_condition"] for row in rows], color="black", label="mean (while all are finite)")
    left.set(xlabel="step", ylabel="ln κ(M_z)", title="Log-condition number at each fixed z")
    left.legend()
    quantiles = {q: [row["quotient_quantiles"][q] for row in rows] for q in ("0.05", "0.25", "0.5", "0.75", "0.95")}
    right.fill_between(steps, quantiles["0.05"], quantiles["0.95"], alpha=0.2, color="tab:orange", label="5–95 %")
    right.fill_between(steps, quantiles["0.25"], quantiles["0.75"], alpha=0.4, color="tab:orange", label="25–75 %")
    right.plot(steps, quantiles["0.5"], color="black", label="median")
    right.set(xlabel="step", ylabel="Q = ‖G(z) − G(z')‖ / ‖z − z'‖", title="Quotient", ylim=(0, None))
    right.legend()
    with records.replacing(path) as temporary:
        figure.savefig(os.fspath(temporary), format="png", dpi=120)


def spectra(axes, singular_values, average_jacobian):
    """Draws each latent's singular values [B, n_z] and those of E[J] in log scale on `axes`, and returns these.

    Odena et al. 2018, figures 3 and 4. Zeros are left out.
    """
    index = range(1, singular_values.shape[1] + 1)
    axes.semilogy(index, singular_values.T, color="tab:blue", alpha=0.25, linewidth=0.8)
    axes.semilogy(index, average_jacobian, color="black", label="average Jacobian E[J]")
    axes.set(xlabel="index k", ylabel="singular value σ_k of J_z", title=f"Spectra at {len(singular_values)} latents")
    axes.legend()
    return axes
