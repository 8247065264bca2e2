"""The dynamics of small games: fields of training directions, their fixed points, trajectories and phase portraits.

A *field* ξ is a callable object: `field(theta)` maps parameters θ [..., n] to dθ/dt [..., n], the direction in which
training moves them, i.e. minus each player's own gradient; `field.jacobian(theta)` is ∂ξ_i/∂θ_j [..., n, n], and
`field.names` the n parameter names. Both are vectorised over the leading axes and leave their argument as it is.
Source of the questions: Guttenberg 2016, "Stability of Generative Adversarial Networks".
"""

from tfjc.dynamics import damping, helmholtz, lyapunov

__all__ = ["damping", "helmholtz", "lyapunov"]
