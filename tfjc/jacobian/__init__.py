"""The Jacobian engine: J_z = ∂G(z)/∂z of a generator and its metric tensor M_z = J_zᵀJ_z (Odena et al. 2018, §2).

A generator is any callable z [B, n_z] → x [B, ...] that treats its samples independently (batch normalisation in
inference mode); outputs are flattened to n_x. A class-conditional one takes labels [B, ...] beside z: as a second
argument, or as the other input of a functional Keras model, whose inputs are told apart by names, types and widths.
"""

from tfjc.jacobian._engine import blocks, gram, jacobian, metric_tensor
from tfjc.jacobian._float64 import in_float64
from tfjc.jacobian._generator import Frozen, call, infer, inspect, run, same_noise, summary
from tfjc.jacobian._gradients import twice_differentiable
from tfjc.jacobian._lanczos import Extremes, extremes
from tfjc.jacobian._operator import JacobianOperator, operator

__all__ = [
    "Extremes",
    "Frozen",
    "JacobianOperator",
    "blocks",
    "call",
    "extremes",
    "gram",
    "in_float64",
    "infer",
    "inspect",
    "jacobian",
    "metric_tensor",
    "operator",
    "run",
    "same_noise",
    "summary",
    "twice_differentiable",
]
