"""Installs tfjc, with the gin files of the experiments as package data (`tfjc/gin_files`)."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "tfjc/__init__.py").read_text())[1]

setup(
    name="tfjc",
    version=VERSION,
    description="Measures and controls the conditioning of generative models in Keras and TensorFlow 2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    # gin/ has no __init__.py (it would shadow the gin package), so it is mapped to a folder inside ours.
    packages=[*find_packages(include=["tfjc", "tfjc.*"]), "tfjc.gin_files"],
    package_dir={"tfjc.gin_files": "gin"},
    package_data={"tfjc.gin_files": ["**/*.gin"]},
    install_requires=[
        "tensorflow>=2.18",
        "keras>=3.8",
        "tf-keras>=2.18",  # tensorflow-probability needs it beside Keras 3
        "tensorflow-gan>=2.1",
        "setuptools<82",  # tensorflow-hub 0.16, which tensorflow-gan needs, imports its pkg_resources
        "tensorflow-datasets>=4.9.4",
        "importlib_resources",  # tensorflow-datasets 4.9.10 imports it and does not say so
        "tensorflow-probability>=0.25",
        "gin-config>=0.5",
        "absl-py",
        "numpy>=2.0",
        "scipy>=1.15",
        "matplotlib",
        "psutil",
        "scikit-learn",
        "pillow",
        "tensorboard",
        "tqdm",
        "rich",
    ],
    extras_require={
        "dev": ["hypothesis", "pytest", "pytest-xdist", "ruff"],
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "ray": ["ray"],
        "bench": ["torch", "jax", "torch-fidelity", "prdc"],
    },
)
