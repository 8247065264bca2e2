"""Packages of tfjc, with the gin files of the experiments as package data; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # gin/ has no __init__.py (it would shadow the gin package), so it is mapped to a folder inside tfjc.
    packages=[*find_packages(include=["tfjc", "tfjc.*"]), "tfjc.gin_files"],
    package_dir={"tfjc.gin_files": "gin"},
    package_data={"tfjc": ["py.typed"], "tfjc.gin_files": ["**/*.gin"]},
)
