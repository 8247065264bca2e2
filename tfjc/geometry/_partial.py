"""What products with J and Jᵀ tell of a spectrum that is too large to compute: its top, traces, density, ln det M.

The k largest singular values come from SciPy's Lanczos solver. The rest of the spectrum is measured by stochastic
Lanczos quadrature (Ubaru, Chen and Saad 2017, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature").
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from tfjc.geometry import _lanczos, _memory
from tfjc.geometry._operator import JacobianOperator
from tfjc.geometry._spectrum import FLOOR
from tfjc.support import checks, noise

_TOLERANCE = 1e-3  # nats a direction: the uncertainty of ln det M that is always accepted


class Estimate(NamedTuple):
    """Values and standard errors, both [B, ...]. The errors are those of the choice of probe vectors."""

    value: np.ndarray
    error: np.ndarray


class Quadrature(NamedTuple):
    """A quadrature rule for each latent and probe: σ ≥ 0 and weights [B, probes, nodes]; weights of a probe sum to 1.

    Σ_i weights_i·f(nodes_i²) estimates the mean of f over the eigenvalues of M that are not among the k largest.
    """

    nodes: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class PartialSpectrum:
    """The top of the spectrum of J_z at each of B latents, and estimates for the rest of it.

    Sums over eigenvalues λ = σ² of M_z take the k largest as they are, and n_z − k times the mean of the `gauss` rules
    for the others. Standard errors cover the choice of the probe vectors. They do not cover the quadrature itself,
    which is exact for tr M and tr M², and coarse for functions that change fast near λ = 0, such as ln λ; the bounds of
    `log_determinant_bounds` cover that. Over p probes, t standard errors hold the truth as often as Student's t with
    p − 1 degrees of freedom says: of 8 probes, 2.4 in 95 of 100 cases.

    Attributes:
      largest: the k largest σ of J_z, [B, k] float64, descending.
      largest_residuals: ‖Jᵀu − σv‖ of these, [B, k]. J has a singular value within the residual of σ.
      vectors: their right singular vectors, [B, n_z, k] float64.
      gauss: the Gauss rules. Their nodes lie within the spectrum.
      radau: the Gauss–Radau rules with a node at 0, which comes last. The weight at 0 is the largest share of
        directions with σ = 0 that the products allow.
      shape: (B, n_x, n_z).
      epsilon: machine epsilon of the coarsest type that the generator computes in.
    """

    largest: np.ndarray
    largest_residuals: np.ndarray
    vectors: np.ndarray
    gauss: Quadrature
    radau: Quadrature
    shape: tuple[int, int, int]
    epsilon: float

    @property
    def sigma_max(self) -> np.ndarray:
        """σ_max of J_z, [B]."""
        return self.largest[:, 0]

    @property
    def trace(self) -> Estimate:
        """tr M_z = ‖J_z‖_F², [B]."""
        return _mean(self._sums(lambda values: values**2))

    @property
    def log_scale(self) -> Estimate:
        """ln(tr M_z/n_z), [B]; −inf for J_z = 0."""
        value, error = self.trace
        with np.errstate(divide="ignore"):
            return Estimate(np.log(value / self.shape[2]), _ratio(error, value))

    @property
    def participation_ratio(self) -> Estimate:
        """(tr M_z)²/tr M_z², [B], with jackknife errors; nan for J_z = 0. See `Spectrum.participation_ratio`."""
        first, second = (self._sums(lambda values, p=p: values**p) for p in (2, 4))
        return _jackknife(lambda one, two: _ratio(one**2, two), first, second)

    @property
    def stable_rank(self) -> Estimate:
        """‖J_z‖_F²/σ_max², [B]; nan for J_z = 0. See `Spectrum.stable_rank`."""
        return Estimate(*(_ratio(part, self.sigma_max**2) for part in self.trace))

    @property
    def floor(self) -> np.ndarray:
        """The rounding error of σ, 4·ε·‖J_z‖_F with the machine epsilon ε, [B]."""
        return FLOOR * self.epsilon * np.sqrt(self.trace.value)

    @property
    def least_node(self) -> np.ndarray:
        """The smallest σ of the Gauss rules, [B]: an upper bound of σ_min."""
        return np.min(np.where(self.gauss.weights > 0, self.gauss.nodes, np.inf), axis=(1, 2))

    @property
    def unresolved_share(self) -> np.ndarray:
        """The largest share of the n_z directions that may have σ of at most `floor` by what the products tell, [B]."""
        floor = self.floor[:, None]
        rest = np.sum(self.radau.weights * (self.radau.nodes <= floor[..., None]), axis=2)
        top = np.count_nonzero(self.largest <= floor, axis=1)
        return (top + self._others * np.mean(rest, axis=1)) / self.shape[2]

    @property
    def log_determinant_bounds(self) -> np.ndarray:
        """Bounds [B, 2] of ln det M_z, before the error of the probes.

        The Gauss rule is an upper bound, since the even derivatives of ln are negative. The Gauss–Radau rule is a lower
        bound, where λ is taken to be at least floor² (Golub and Meurant 2010, "Matrices, moments and quadrature",
        chapter 6). It is −inf where `least_node` shows that σ_min is below `floor`, or where n_x < n_z.
        """
        lower, upper = (np.mean(sums, axis=1) for sums in self._log_sums())
        return np.stack([np.where(self._is_singular(), -np.inf, lower), upper], axis=1)

    @property
    def log_determinant(self) -> Estimate:
        """ln det M_z, [B]: the middle of `log_determinant_bounds`; nan where `why_no_log_determinant` has a reason.

        The error combines the standard error over probes with half the distance of the bounds.
        """
        lower, upper = self._log_sums()
        value, error = _mean((lower + upper) / 2.0)
        error = np.hypot(error, np.mean(upper - lower, axis=1) / 2.0)
        known = np.array([reason is None for reason in self.why_no_log_determinant()])
        return Estimate(np.where(known, value, np.nan), np.where(known, error, np.nan))

    def why_no_log_determinant(self) -> list[str | None]:
        """For each latent why ln det M_z cannot be had, or None where it can.

        It can where J_z is of full rank as far as rounding shows, and half the distance of the bounds is at most the
        standard error over probes, or 0.001·n_z.
        """
        lower, upper = self._log_sums()
        unsure = np.mean(upper - lower, axis=1) / 2.0 > np.maximum(_mean(upper).error, _TOLERANCE * self.shape[2])
        return [self._why(b, bool(unsure[b]), bool(self._is_singular()[b])) for b in range(self.shape[0])]

    def _why(self, b, unsure, singular):
        _, n_x, n_z = self.shape
        if n_x < n_z:
            return f"M_z is singular: n_x = {n_x} is less than n_z = {n_z}"
        if singular:
            return f"σ_min is at most {self.least_node[b]:.2g}, below the rounding of the products, {self.floor[b]:.2g}"
        if not unsure:
            return None
        low, high = self.log_determinant_bounds[b]
        return (
            f"{self.gauss.nodes.shape[2]} Lanczos steps leave up to {self.unresolved_share[b]:.2%} of the directions "
            f"between σ = 0 and {self.least_node[b]:.2g}: ln det M_z is at most {high:.4g}, and {low:.4g} or more if "
            "σ_min is above rounding; more steps bring these bounds closer"
        )

    def density(self, log_eigenvalues: np.ndarray, width: float) -> Estimate:
        """The density of ln λ over the n_z eigenvalues of M_z, a nat, at the points [P]: [B, P].

        Each node stands for a Gaussian in ln λ with standard deviation `width` (Lin, Saad and Yang 2016, "Approximating
        spectral densities of large matrices"). Nodes at 0 are left out. Raises ValueError unless width > 0.
        """
        width = checks.real("width", width, above=0.0)
        points = np.asarray(log_eigenvalues, np.float64)

        def bumps(values, shares):
            """Σ_i shares_i·N(points; ln values_i², width), [..., P]."""
            with np.errstate(divide="ignore"):
                away = (points - 2.0 * np.log(values)[..., None]) / width
            heights = np.exp(-np.square(away) / 2.0) / (width * np.sqrt(2.0 * np.pi))
            return np.sum(shares[..., None] * heights, axis=-2)

        n_z = self.shape[2]
        top = bumps(self.largest, np.full(self.largest.shape, 1.0 / n_z))
        return _mean(top[:, None] + self._others / n_z * bumps(*self.gauss))

    def summary(self) -> dict[str, Any]:
        """The partial spectrum under the names of `analysis.json` (docs/records.md): means over latents, and errors."""
        reasons = [reason for reason in self.why_no_log_determinant() if reason]
        estimates = {name: getattr(self, name) for name in ("trace", "log_scale", "participation_ratio", "stable_rank")}
        if not reasons:
            estimates["log_determinant"] = self.log_determinant
        numbers = {"sigma_max": self.sigma_max, "floor": self.floor, "least_node": self.least_node}
        return {
            **{name: float(np.mean(values)) for name, values in numbers.items()},
            "largest": np.mean(self.largest, axis=0).tolist(),
            "largest_residual": float(np.max(self.largest_residuals)),
            **{name: float(np.mean(estimate.value)) for name, estimate in estimates.items()},
            **{f"{name}_error": _of_mean(estimate.error) for name, estimate in estimates.items()},
            **({"no_log_determinant": reasons[0]} if reasons else {}),
            "log_determinant_bounds": np.mean(self.log_determinant_bounds, axis=0).tolist(),
            "unresolved_share": float(np.mean(self.unresolved_share)),
            "probes": self.gauss.nodes.shape[1],
            "lanczos_steps": self.gauss.nodes.shape[2],
            "epsilon": self.epsilon,
        }

    @property
    def _others(self):
        """n_z − k."""
        return self.shape[2] - self.largest.shape[1]

    def _is_singular(self):
        return (self.least_node <= self.floor) | (self.shape[1] < self.shape[2])

    def _sums(self, function):
        """Σ function(σ) over the n_z singular values by each probe, [B, probes]."""
        rest = np.sum(self.gauss.weights * function(self.gauss.nodes), axis=2)
        return np.sum(function(self.largest), axis=1, keepdims=True) + self._others * rest

    def _log_sums(self):
        """Lower and upper bounds of ln det M_z by each probe, [B, probes] each; σ below `floor` counts as `floor`."""
        floor = np.maximum(self.floor, np.finfo(np.float64).tiny)[:, None]
        top = np.sum(2.0 * np.log(np.maximum(self.largest, floor)), axis=1, keepdims=True)
        rules = (
            np.sum(weights * 2.0 * np.log(np.maximum(nodes, floor[..., None])), axis=2)
            for nodes, weights in (self.radau, self.gauss)
        )
        return tuple(top + self._others * rule for rule in rules)


def _of_mean(errors):
    """The standard error of the mean of independent values with these errors."""
    return float(np.sqrt(np.sum(np.square(errors))) / len(errors))


def _ratio(numerator, denominator):
    return np.divide(numerator, denominator, out=np.full(np.shape(numerator), np.nan), where=denominator > 0)


def _mean(by_probe):
    """The mean over probes, and its standard error, of [B, probes, ...]."""
    return Estimate(np.mean(by_probe, axis=1), np.std(by_probe, axis=1, ddof=1) / np.sqrt(by_probe.shape[1]))


def _jackknife(function, *by_probe):
    """`function` of the means over probes, with its jackknife error, from samples [B, probes] of each argument."""
    count = by_probe[0].shape[1]
    without = function(*((np.sum(x, axis=1, keepdims=True) - x) / (count - 1) for x in by_probe))
    value = function(*(np.mean(x, axis=1) for x in by_probe))
    return Estimate(value, np.sqrt((count - 1.0) * np.var(without, axis=1)))


def partial_memory(shape: tuple[int, int, int], k: int, probes: int, steps: int) -> int:
    """The bytes that `partial_spectrum` holds in NumPy arrays for (B, n_x, n_z), beside the generator's own memory.

    Raises ValueError where they exceed the free memory.
    """
    count, n_x, n_z = shape
    steps = min(steps, n_z - k)
    vectors = probes * (steps + 4) + _lanczos.krylov(k) + (count + 1) * k
    size = 8 * (vectors * n_z + 4 * probes * n_x)
    what = f"{probes} probes of {steps} Lanczos steps with n_z = {n_z}"
    _memory.check_free(what, size, "take fewer probes or steps")
    return size


def partial_spectrum(
    operators: JacobianOperator | LinearOperator | Sequence[LinearOperator],
    k: int = 16,
    *,
    probes: int = 8,
    steps: int = 64,
    epsilon: float | None = None,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> PartialSpectrum:
    """The `PartialSpectrum` of J_z from products Jv and Jᵀu alone, for latents of 10⁴ numbers and more.

    From each probe, a random unit vector orthogonal to the k largest right singular vectors, Golub–Kahan
    bidiagonalisation with full reorthogonalisation in float64 gives the quadrature rules (Golub and Meurant 2010,
    chapter 7). This takes about 2·probes·steps products at each latent, and about 100 to 1,000 for the largest values.

    Args:
      operators: `tfjc.geometry.operator(generator, z)`; or SciPy LinearOperators [n_x, n_z] of one shape, of any
        framework: one, or one for each latent.
      k: the number of largest singular values, less than n_z. More of them make the estimates more certain where a few
        directions hold most of tr M.
      probes: the number of probe vectors, 2 or more. Standard errors fall as 1/√probes.
      steps: the number of Lanczos steps, 2 or more. n_z − k steps make the quadrature exact.
      epsilon: machine epsilon of the coarsest type in which products are computed; that of the generator, or of the
        operators' type, by default.
      seed: of the probes and the solver's starting vector.
      progress: called with 1 after each Lanczos step at one latent.

    Raises:
      ValueError: an argument is out of range, operators differ in shape, `rmatvec` is not the transpose of `matvec`, a
        product is not finite, the solver does not converge, or the vectors do not fit into the free memory.
    """
    each = _operators(operators)
    n_x, n_z = each[0].shape
    shape = (len(each), n_x, n_z)
    k = _lanczos.count(k, n_z)
    probes = checks.integer("probes", probes, minimum=2)
    steps = min(checks.integer("steps", steps, minimum=2), n_z - k)
    own = max(float(np.finfo(operator.dtype).eps) for operator in each)
    own = max(own, operators.epsilon) if isinstance(operators, JacobianOperator) else own
    epsilon = own if epsilon is None else checks.real("epsilon", epsilon, minimum=own, below=1.0)
    partial_memory(shape, k, probes, steps)
    if not isinstance(operators, JacobianOperator):  # which has checked its products
        each = [_lanczos.linear_map(operator) for operator in each]
    tops, rules = [], []
    for index, operator in enumerate(each):
        top = _lanczos.largest(operator, k, seed=seed)
        starts = noise.rng(seed, noise.Stream.PROBES, index).standard_normal([n_z, probes])
        alphas, betas = _bidiagonalise(operator, starts, top.vectors, steps, progress)
        tops.append(top)
        rules.append(_rules(alphas, betas))
    largest, residuals, vectors = (np.stack(field) for field in zip(*tops, strict=True))
    gauss, radau = (Quadrature(*map(np.stack, zip(*rule, strict=True))) for rule in zip(*rules, strict=True))
    return PartialSpectrum(largest, residuals, vectors, gauss, radau, shape, epsilon)


def _operators(operators):
    """A list of SciPy LinearOperators [n_x, n_z] of one shape; raises ValueError where there is none."""
    if isinstance(operators, LinearOperator):
        operators = [operators]
    try:
        each = [operators[index] for index in range(len(operators))]
    except (TypeError, KeyError):
        each = []
    if not each or not all(isinstance(operator, LinearOperator) for operator in each):
        raise ValueError(
            "operators must be a JacobianOperator (tfjc.geometry.operator), a SciPy LinearOperator or a list of them, "
            f"found {type(operators).__name__}"
        )
    shapes = {operator.shape for operator in each}
    if len(shapes) > 1:
        raise ValueError(f"operators must have one shape [n_x, n_z], found {sorted(shapes)}")
    if any(np.dtype(operator.dtype).kind != "f" for operator in each):
        found = {np.dtype(operator.dtype).name for operator in each}
        raise ValueError(f"operators must be of floating type, found {', '.join(sorted(found))}")
    return each


def _bidiagonalise(operator, starts, top, steps, progress):
    """Golub–Kahan bidiagonalisation of J from each column of `starts` [n_z, probes], off the columns of `top`.

    Gives α [probes, steps] and β [probes, steps] with J·v_j = α_j·u_j + β_{j−1}·u_{j−1} and Jᵀ·u_j = α_j·v_j +
    β_j·v_{j+1}. A number within rounding of 0 becomes 0 and ends its probe's recursion: all that follow are 0.
    """
    n_z, probes = starts.shape
    basis = np.zeros([probes, steps, n_z])
    alphas, betas = np.zeros([2, probes, steps])
    rounding = np.finfo(operator.dtype).eps

    def unit(vectors):
        """Columns of unit length, and lengths, which are 0 within rounding."""
        lengths = np.linalg.norm(vectors, axis=0)
        lengths = np.where(lengths <= rounding * alphas.max(axis=1), 0.0, lengths)  # nan stays
        return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), lengths

    v, _ = unit(_off(starts, top, basis[:, :0]))
    u = np.zeros([operator.shape[0], probes])
    for step in range(steps):
        basis[:, step] = v.T
        previous = betas[:, step - 1] if step else 0.0
        u, alphas[:, step] = unit(operator.matmat(v.astype(operator.dtype)) - u * previous)
        pulled = operator.rmatmat(u.astype(operator.dtype)).astype(np.float64)
        v, betas[:, step] = unit(_off(pulled, top, basis[:, : step + 1]))
        if not np.isfinite(alphas[:, step] + betas[:, step]).all():
            raise ValueError("the products of the operator hold nan or infinite values")
        if progress:
            progress(1)
    return alphas, betas


def _off(columns, top, basis):
    """`columns` [n_z, probes] without their parts along `top` [n_z, k] and each its `basis` [probes, steps, n_z]."""
    for _ in range(2):  # twice is enough for orthogonality to rounding (Giraud et al. 2005)
        columns = columns - top @ (top.T @ columns)
        rows = columns.T[:, :, None]
        columns = (rows - basis.swapaxes(1, 2) @ (basis @ rows))[:, :, 0].T
    return columns


def _rules(alphas, betas):
    """(the Gauss rules, the Gauss–Radau rules with a node at 0) of each probe: nodes and weights [probes, nodes].

    The nodes of the Gauss rule are the singular values of the bidiagonal matrix B = [α₁ β₁; α₂ β₂; ...], the weights
    the squared first entries of its right singular vectors. The Gauss–Radau rule is that of B with one more column,
    which holds the last β (Golub and Meurant 2010, chapter 6).
    """
    probes, steps = alphas.shape
    gauss, radau = np.zeros([2, probes, steps]), np.zeros([2, probes, steps + 1])
    for probe in range(probes):
        size = np.flatnonzero(np.append(betas[probe], 0.0) == 0.0)[0] + 1  # a β of 0 ends the recursion
        size = min(size, steps)
        a, b = alphas[probe, :size], betas[probe, :size]
        square = np.diag(a) + np.diag(b[:-1], 1)
        wide = np.concatenate([square, np.eye(size, 1, 1 - size) * b[-1]], axis=1)
        for (nodes, weights), matrix in ((gauss, square), (radau, wide)):
            _, values, rows = np.linalg.svd(matrix, full_matrices=True)
            nodes[probe, :size] = values
            weights[probe, :size] = rows[:size, 0] ** 2
        radau[1, probe, -1] = rows[size, 0] ** 2
    return gauss, radau
