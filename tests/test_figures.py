"""Figures from records."""

from PIL import Image

from tfjc import figures
from tfjc.evaluators.conditioning import QUANTILES


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
    assert len(picture.getcolors(1 << 20)) > 100
