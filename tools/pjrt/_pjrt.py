"""Loads a bundle's modules with JAX, which compiles and runs them and computes nothing of its own."""

import dataclasses
import re
import time

import jax
import numpy as np
from _bundle import Bundle
from jax import export
from jax._src.interpreters.mlir import make_ir_context  # of all dialects; there is no public way to one
from jax.extend import mlir
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

jax.config.update("jax_enable_x64", True)  # or float64 and int64 would not pass

# On GPUs: choose algorithms without checking each against the others, and leave matrix products to cuBLAS. Both only
# shorten compilation.
OPTIONS = {"xla_gpu_autotune_level": 2, "xla_gpu_enable_triton_gemm": False}

# What XLA puts into CUDA graphs, whose kernels are launched together: by default, convolutions too, or whole loops too.
_USUAL = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION"
GRAPHS = {
    "default": {},
    "convolution": {"xla_gpu_enable_command_buffer": f"{_USUAL},CONVOLUTION"},
    "loop": {"xla_gpu_enable_command_buffer": f"{_USUAL},CONVOLUTION,CONDITIONAL,WHILE"},
    "none": {"xla_gpu_enable_command_buffer": ""},
}


class Module:
    """One of a bundle's XLA modules, compiled: (state, inputs) → (outputs, state).

    Args:
      bundle: the `Bundle`.
      name: of the module.
      precision: "float32" for products in full precision, "tf32" to let GPUs round their operands to TF32.
      graphs: one of `GRAPHS`, which hold on GPUs.

    Attributes:
      seconds: that compilation took.
    """

    def __init__(self, bundle: Bundle, name: str, precision: str = "float32", graphs: str = "default"):
        entry = bundle.manifest["modules"][name]
        self.name, self.entry = name, entry
        self.parameters, self.results = entry["parameters"], entry["results"]
        self._constants = {
            parameter["name"]: jax.device_put(bundle.arrays[parameter["array"]])
            for parameter in self.parameters
            if parameter["kind"] == "constant"
        }
        start = time.perf_counter()
        replaced = {result["parameter"] for result in self.results if "parameter" in result}
        function = jax.jit(
            _exported(bundle.hlo(name), self.parameters, self.results, precision).call,
            donate_argnums=tuple(sorted(replaced)),
        )
        lowered = function.lower(*map(_aval, self.parameters))
        options = {**OPTIONS, **GRAPHS[graphs]} if jax.default_backend() == "gpu" else None
        self._run = lowered.compile(compiler_options=options)
        self.seconds = time.perf_counter() - start

    def __call__(self, state, **inputs):
        """({output: array}, the state with what was written), both on the device; what was replaced is given up."""
        found = {**state, **self._constants, **inputs}
        results = self._run(*[found[parameter["name"]] for parameter in self.parameters])
        outputs = {r["name"]: x for r, x in zip(self.results, results, strict=True) if "parameter" not in r}
        written = {r["name"]: x for r, x in zip(self.results, results, strict=True) if "parameter" in r}
        return outputs, {**state, **written} if written else state

    def inputs(self):
        """The names of its inputs."""
        return [parameter["name"] for parameter in self.parameters if parameter["kind"] == "input"]


def device_state(arrays):
    """A state's arrays on the device."""
    return {name: jax.device_put(array) for name, array in arrays.items()}


def _aval(entry):
    return jax.ShapeDtypeStruct(tuple(entry["shape"]), np.dtype(entry["dtype"]))


def _exported(hlo, parameters, results, precision):
    """A module as what `jax.export` deserialises: the module of a function with the same signature is replaced."""
    avals, out = [_aval(p) for p in parameters], [_aval(r) for r in results]
    twin = export.export(jax.jit(lambda *_: tuple(jax.numpy.zeros(o.shape, o.dtype) for o in out), keep_unused=True))(
        *avals
    )
    text = marked(_text(mlir.hlo_to_stablehlo(hlo)), precision)
    serialized = mlir.serialize_portable_artifact(text, stablehlo.get_current_version())
    return dataclasses.replace(twin, mlir_module_serialized=serialized)


def marked(text, precision):
    """A module's text with all products in a precision, however TensorFlow has marked them."""
    mark = {"float32": "HIGHEST", "tf32": "DEFAULT"}[precision]
    text = re.sub(r"<precision \w+>", f"<precision {mark}>", text)
    return re.sub(r"precision = \[\w+, \w+\]", f"precision = [{mark}, {mark}]", text)


def _text(module):
    """A module of StableHLO, whose bytes are given, as text, without the copies that only mattered to variables."""
    with make_ir_context():
        parsed = ir.Module.parse(module)
        copies = []

        def collect(operation):
            if operation.name == "mhlo.copy":
                copies.append(operation)
            return ir.WalkResult.ADVANCE

        parsed.operation.walk(collect)
        for operation in copies:
            operation.results[0].replace_all_uses_with(operation.operands[0])
            operation.erase()
        return str(parsed)
