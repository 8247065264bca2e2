"""`python -m tfjc.study.run` whose runs are forks: python tests/study/forked.py FLAGS.

The runs export no generator, and share what the first of them imports.
"""

import multiprocessing
import runpy

import forks
from absl import flags

from tfjc.study import _local

BEFORE = set(flags.FLAGS)


def start(command, *, preexec_fn, **options):
    """A fork that does not know the flags of the study."""
    from tfjc.runs import configuration  # noqa: F401
    from tfjc.saving import export

    def prepare():
        export.export_generator = lambda *arguments, **options: None
        for name in set(flags.FLAGS) - BEFORE:
            delattr(flags.FLAGS, name)
        preexec_fn()

    return forks.Process(command, context=multiprocessing.get_context("fork"), preexec_fn=prepare, **options)


_local.subprocess = forks.in_place_of_subprocess(start)
runpy.run_module("tfjc.study.run", run_name="__main__", alter_sys=True)
