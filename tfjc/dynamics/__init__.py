"""The dynamics of small games: vector fields of training, their fixed points, trajectories and phase portraits.

A `Field` ξ maps parameters θ [..., n] to dθ/dt [..., n], the direction in which training moves θ: minus the gradient of
each player's loss. `field.jacobian(theta)` is ∂ξ_i/∂θ_j [..., n, n], and `field.names` are the names of the parameters.
Fields are vectorised over the leading axes and do not change their argument. The questions are those of Guttenberg
2016, "Stability of Generative Adversarial Networks".
"""

from tfjc.dynamics import damping, helmholtz, lyapunov
from tfjc.dynamics._field import Field

__all__ = ["Field", "damping", "helmholtz", "lyapunov"]
