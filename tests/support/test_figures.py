"""Figures from records."""

import numpy as np
from PIL import Image

from tfjc.geometry import QUANTILES
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


def test_walks_are_drawn_from_left_to_right_in_rows(tmp_path):
    """A red, a green and a blue image, and below these the same in reverse: areas and places of the colours."""
    colours = np.eye(3).reshape(1, 3, 1, 1, 3) * np.ones([1, 1, 4, 4, 1])
    figures.walks(np.concatenate([colours, colours[:, ::-1]]), ["forth", "back"], [-1, 0, 1], tmp_path / "w.png")
    picture = np.asarray(Image.open(tmp_path / "w.png").convert("RGB"))
    places = [np.argwhere((picture == 255 * colour).all(axis=-1)) for colour in np.eye(3)]
    areas = [len(place) for place in places]
    assert min(areas) > 0.98 * max(areas) > 5000
    middle = np.mean(places[1][:, 0])
    above, below = ([place[(place[:, 0] < middle) == upper].mean(axis=0)[1] for place in places] for upper in (1, 0))
    assert above == sorted(above) and below == sorted(below, reverse=True)
    np.testing.assert_allclose(above, below[::-1], atol=1)
