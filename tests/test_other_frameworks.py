"""The examples for other frameworks, each where its framework is installed: `pip install .[bench]` brings them."""

import importlib.util

import numpy as np
import pytest
from conftest import ROOT


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_the_spectra_of_a_generator(framework, tmp_path, monkeypatch):
    """The partial spectrum, from products, agrees at the first latent with the whole one, from J."""
    pytest.importorskip(framework, exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location("example", ROOT / f"docs/examples/{framework}_generator.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    whole, partial = example.main()
    assert whole.singular_values.shape == (32, 16)
    assert whole.epsilon == 2**-23
    assert np.isfinite(whole.mean_log_condition)
    np.testing.assert_allclose(partial.largest[0], whole.singular_values[0, :4], rtol=1e-3)
    np.testing.assert_allclose(
        partial.log_determinant.value[0], whole.log_determinant[0], atol=5 * partial.log_determinant.error[0]
    )
    assert (tmp_path / "spectra.png").stat().st_size > 1000
