"""The training of small GANs as dynamical systems: NumPy and SciPy only.

A *field* ξ is a callable object: `field(theta)` takes parameters θ, float64 [..., n], and gives their time derivative
in training, [..., n], that is, minus each player's gradient of its own loss; `field.jacobian(theta)` gives J = ∂ξ/∂θ,
[..., n, n], with J[..., i, j] = ∂ξ_i/∂θ_j; `field.names` are the parameters' names.
"""

from tfjc.dynamics import damping, helmholtz, lyapunov

__all__ = ["damping", "helmholtz", "lyapunov"]
