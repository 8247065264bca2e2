"""What replicas share."""

import numpy as np

from tfjc.support import replicas


def test_unit_directions_have_length_one_and_follow_the_seed():
    first = replicas.unit_directions([50, 7], [1, 2])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(first, replicas.unit_directions([50, 7], [1, 2]))
    assert np.abs(first - replicas.unit_directions([50, 7], [1, 3])).max() > 0.1
