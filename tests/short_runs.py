"""Short runs, as the command line starts them."""

from tfjc import models
from tfjc.runs import configuration
from tfjc.saving import export
from tfjc.support import figures
from tfjc.support.run_directory import RunDirectory

SHORT = [
    "train_and_evaluate.steps = 6",
    "train_and_evaluate.eval_every = 2",
    "train_and_evaluate.batch_size = 16",
    "train_and_evaluate.eval_latents = 4",
    "train_and_evaluate.scores = []",
    "dcgan.channels = 4",
    "dcgan.n_z = 8",
    "sngan_cnn.channels = 2",
    "sngan_cnn.n_z = 8",
    "sngan_resnet.channels = 1",
    "sngan_resnet.n_z = 8",
    "wgangp_resnet.channels = 4",
    "wgangp_resnet.n_z = 8",
]
DIGITS = [*SHORT, "dataset.size = 8"]


def train(workdir, *bindings, gin_file="digits_jc", **options):
    """Runs a gin file, made short, in `workdir`; returns its `RunDirectory`."""
    configuration.parse([gin_file], [*(DIGITS if gin_file == "digits_jc" else SHORT), *bindings])
    configuration.train_and_evaluate(workdir=workdir, **options)
    return RunDirectory(workdir)


def without_time(run):
    """The rows of a run's `metrics.jsonl`, time apart."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.read_metrics()]


def without_exports(patched):
    """Runs export no generator and draw no curve."""
    patched.setattr(export, "export_generator", lambda *arguments, **options: None)
    patched.setattr(figures, "conditioning", lambda *arguments, **options: None)


def without_graphs(patched):
    """Training steps run without a graph."""
    patched.setattr(models.GenerativeModel, "run_eagerly", property(lambda _: True, lambda *_: None), raising=False)
