"""`python -m tfjc.study.run` whose runs are forks: python tests/study/forked.py FLAGS."""

import multiprocessing
import runpy

import forks
import tensorflow as tf
from absl import flags

from tfjc.study import _local

BEFORE = set(flags.FLAGS)


def start(command, *, preexec_fn, **options):
    """A fork that does not know the flags of the study."""

    def prepare():
        for name in set(flags.FLAGS) - BEFORE:
            delattr(flags.FLAGS, name)
        preexec_fn()

    return forks.Process(command, context=multiprocessing.get_context("fork"), preexec_fn=prepare, **options)


# The runs inherit it: what is optimised in their graphs, in a second or two each, saves nothing in a few hundred steps.
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
_local.subprocess = forks.in_place_of_subprocess(start)
runpy.run_module("tfjc.study.run", run_name="__main__", alter_sys=True)
