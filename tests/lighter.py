"""Leaves out work of Python, TensorFlow and Matplotlib that no test looks at."""

import functools
import gc
import inspect
import sys


def lighten():
    """Lightens this process, and the modules that it has imported."""
    _collect_rarely()
    _trace_without_stacks()
    _make_variables_alike()
    _draw_without_layout()


def _collect_rarely():
    """Python's garbage collector ignores what was imported, and runs once for 50,000 new objects.

    A trace makes many objects and leaves few.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 10)


def _trace_without_stacks():
    """Operations do not record which Python calls made them, which TensorFlow shows in messages alone."""
    ops = sys.modules.get("tensorflow.python.framework.ops")
    make = getattr(ops, "_create_c_op", None)
    if make is not None and "extract_traceback" in inspect.signature(make).parameters:
        ops._create_c_op = functools.partial(make, extract_traceback=False)


def _make_variables_alike():
    """Variables have no name for TensorFlow's messages. It builds a kernel for each name: half of a variable's time."""
    handles = sys.modules.get("tensorflow.python.ops.gen_resource_variable_ops")
    make = getattr(handles, "var_handle_op", None)
    if make is not None and "debug_name" in inspect.signature(make).parameters:
        handles.var_handle_op = lambda *arguments, **options: make(*arguments, **{**options, "debug_name": ""})


def _draw_without_layout():
    """Figures skip Matplotlib's constrained layout, which takes a third of a figure's time."""
    engines = sys.modules.get("matplotlib.layout_engine")
    if engines is not None:
        engines.ConstrainedLayoutEngine.execute = lambda engine, figure: None
