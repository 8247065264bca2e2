"""The Jacobian J_z = ∂G(z)/∂z of a generator and its metric tensor M_z = J_zᵀJ_z (Odena et al. 2018, section 2).

A generator is any callable z [B, n_z] → x [B, ...] that treats samples independently. Outputs are flattened to n_x.
Batch normalisation runs in inference mode. A class-conditional generator also takes labels [B, ...]: as a second
argument, or as the second input of a functional Keras model. Names, types and widths of the inputs decide which input
takes the latents.
"""

from tfjc.geometry._engine import blocks, gram, jacobian, metric_tensor, settle
from tfjc.geometry._float64 import in_float64
from tfjc.geometry._generator import (
    Frozen,
    Generator,
    Inspection,
    call,
    infer,
    inspect,
    latents,
    run,
    same_noise,
    summary,
)
from tfjc.geometry._gradients import twice_differentiable
from tfjc.geometry._lanczos import Extremes, extremes
from tfjc.geometry._operator import JacobianOperator, operator
from tfjc.geometry._partial import Estimate, PartialSpectrum, Quadrature, partial_memory, partial_spectrum
from tfjc.geometry._quotients import UnrepeatableNoise, quotient, quotients
from tfjc.geometry._sampling import polarity_weights, smallest_norms
from tfjc.geometry._spectrum import (
    QUANTILES,
    RECORDED,
    Spectrum,
    eigenvectors,
    quantiles,
    singular_values,
    spectrum,
    spectrum_of,
)

__all__ = [
    "QUANTILES",
    "RECORDED",
    "Estimate",
    "Extremes",
    "Frozen",
    "Generator",
    "Inspection",
    "JacobianOperator",
    "PartialSpectrum",
    "Quadrature",
    "Spectrum",
    "UnrepeatableNoise",
    "blocks",
    "call",
    "eigenvectors",
    "extremes",
    "gram",
    "in_float64",
    "infer",
    "inspect",
    "jacobian",
    "latents",
    "metric_tensor",
    "operator",
    "partial_memory",
    "partial_spectrum",
    "polarity_weights",
    "quantiles",
    "quotient",
    "quotients",
    "run",
    "same_noise",
    "settle",
    "singular_values",
    "smallest_norms",
    "spectrum",
    "spectrum_of",
    "summary",
    "twice_differentiable",
]
