"""Keeps a small finished run of this version in tests/data/VERSION.zip, which all later versions must load.

    tools/run python tools/release_fixture.py

To be run once for each release. The run is two evaluations of a tiny clamped DCGAN on scikit-learn's digits, with what
its generator makes of five latents in `expected.npz`. tests/saving/test_upgrades.py loads what is there.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

import tfjc
from tfjc.saving import export

ROOT = pathlib.Path(__file__).parent.parent
BINDINGS = {
    "train_and_evaluate.steps": 4,
    "train_and_evaluate.eval_every": 2,
    "train_and_evaluate.batch_size": 16,
    "train_and_evaluate.eval_latents": 4,
    "train_and_evaluate.scores": [],
    "dcgan.channels": 1,
    "dcgan.n_z": 2,
}


def train(path):
    """Trains the run in a directory, and removes what no later version reads, or what names this machine."""
    flags = [f"--gin_bindings={name} = {value}" for name, value in BINDINGS.items()]
    command = [sys.executable, "-m", "tfjc.train", "--gin_file=digits_jc", f"--workdir={path}", *flags]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(path / "tensorboard")
    for file in [path / "conditioning.png", path / ".lock", *path.glob("checkpoints/ckpt-0.*")]:
        file.unlink(missing_ok=True)


def expected(path):
    """Writes what the exported generator makes of five latents: images and metric tensors."""
    generator = export.load_generator(path / "saved_model")
    z = np.random.default_rng(0).standard_normal([5, 2]).astype(np.float32)
    np.savez(path / "expected.npz", z=z, images=generator(z), metric_tensor=generator.metric_tensor(z))


def main():
    """Trains and packs; refuses to replace a fixture."""
    packed = ROOT / "tests" / "data" / f"{tfjc.__version__}.zip"
    if packed.exists():
        raise SystemExit(f"{packed} is there: a version is released once")
    with tempfile.TemporaryDirectory() as directory:
        run = pathlib.Path(directory) / "run"
        train(run)
        expected(run)
        files = sorted(path for path in run.rglob("*") if path.is_file())
        naming = [file.name for file in files if directory.encode() in file.read_bytes()]
        if naming:
            raise SystemExit(f"these name a directory of this machine: {', '.join(naming)}")
        packed.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in files:
                archive.write(file, file.relative_to(run))
    print(f"{packed}: {len(files)} files, {packed.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
