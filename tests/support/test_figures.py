"""Figures from records."""

import numpy as np
from PIL import Image

from tfjc.evaluators.conditioning import QUANTILES
from tfjc.support import figures


def test_conditioning_draws_from_rows_alone(tmp_path):
    rows = [
        {
            "step": step,
            "log_condition": [step / 100, 5.0],
            "mean_log_condition": step / 200 + 2.5,
            "quotient_quantiles": {str(q): q + step for q in QUANTILES},
        }
        for step in (0, 100, 200)
    ]
    figures.conditioning(rows, tmp_path / "c.png")
    picture = Image.open(tmp_path / "c.png").convert("RGB")
    assert picture.size == (1200, 480)
    colours = np.asarray(picture).reshape(-1, 3)
    left, right = np.asarray(picture)[:, :600].reshape(-1, 3), np.asarray(picture)[:, 600:].reshape(-1, 3)
    bluish = (colours[:, 2].astype(int) - colours[:, 0] > 20).sum()  # the lines of single latents, only on the left
    orange = (right[:, 0].astype(int) - right[:, 2] > 20).sum()  # the quantiles' bands, only on the right
    assert bluish > 200
    assert orange > 1000
    assert (left[:, 0].astype(int) - left[:, 2] > 20).sum() == 0
