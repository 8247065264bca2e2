"""Scores against closed forms, hand-worked examples, brute force and TF-GAN."""

import numpy as np
import pytest
import scipy.linalg

from tfjc.evaluators import scores, tfgan

RANDOM = np.random.default_rng(0)


def exact_sample(mean, covariance, count=50):
    """Features [count, d] whose mean and unbiased covariance are exactly those given."""
    x = np.random.default_rng(7).standard_normal([count, len(mean)])
    x -= x.mean(axis=0)
    whitened = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    values, vectors = np.linalg.eigh(np.asarray(covariance, float))
    return whitened @ (vectors * np.sqrt(np.clip(values, 0, None))).T + mean


def both(real, fake):
    """The Fréchet distance by the fast form and by TF-GAN."""
    return scores.frechet_distance(real, fake), tfgan.frechet_distance(real, fake)


def test_frechet_distance_of_commuting_gaussians():
    """‖Δμ‖² + Σ (√a_k − √b_k)² for Σ₁ = diag a, Σ₂ = diag b: here 3² + 1² + (2 − 3)² + (1 − 5)² = 27."""
    real, fake = exact_sample([0.0, 0.0], np.diag([4.0, 1.0])), exact_sample([3.0, -1.0], np.diag([9.0, 25.0]))
    assert both(real, fake) == pytest.approx((27.0, 27.0), rel=1e-12)


def test_frechet_distance_of_gaussians_that_do_not_commute():
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    expected = np.trace(first + second - 2.0 * scipy.linalg.sqrtm(first @ second).real)
    assert both(exact_sample([1.0, 1.0], first), exact_sample([1.0, 1.0], second)) == pytest.approx([expected] * 2)
    assert scores.gaussian_frechet_distance([0, 0], first, [0, 0], second) == pytest.approx(expected)


@pytest.mark.parametrize("singular", ["first", "second", "both"])
def test_frechet_distance_of_singular_gaussians(singular):
    """Rank one along (1, 1)/√2 with variance 4; against diag(9, 1): root trace = √(vᵀΣ₂v·4) = √20."""
    flat, full = np.full([2, 2], 2.0), np.diag([9.0, 1.0])
    pairs = {"first": (flat, full), "second": (full, flat), "both": (flat, flat)}
    expected = {"first": 14 - 2 * np.sqrt(20), "second": 14 - 2 * np.sqrt(20), "both": 0.0}[singular]
    first, second = pairs[singular]
    assert scores.gaussian_frechet_distance([0, 0], first, [0, 0], second) == pytest.approx(expected, abs=1e-7)
    assert both(exact_sample([0, 0], first), exact_sample([0, 0], second)) == pytest.approx([expected] * 2, abs=1e-6)


def relu_features(count, size, decay):
    spread = np.exp(-np.arange(size) / decay)
    return np.maximum(RANDOM.standard_normal([count, size]) * spread + 0.1, 0.0)


@pytest.mark.parametrize("count, size", [(300, 40), (60, 40), (25, 40), (2, 5), (10, 1)])
def test_the_fast_frechet_distance_is_tfgans(count, size):
    """Fewer samples than features included: covariances are singular then."""
    fast, reported = both(relu_features(count, size, 200.0), 1.3 * relu_features(count + 3, size, 200.0))
    assert fast == pytest.approx(reported, rel=1e-7)


@pytest.mark.parametrize("count, size", [(300, 40), (40, 40), (25, 40)])
def test_the_fast_frechet_distance_where_tfgan_rounds(count, size):
    """TF-GAN drops eigenvalues under 1e-10, at most 2·√1e-10 of the distance each; the fast form is exact.

    The reference is another formula: Tr (Σ₁Σ₂)^½ is the nuclear norm of X₁X₂ᵀ for centred features X/√(N − 1).
    """
    real, fake = relu_features(count, size, 5.0), 1.3 * relu_features(count + 3, size, 5.0)
    first, second = ((x - x.mean(axis=0)) / np.sqrt(len(x) - 1) for x in (real, fake))
    nuclear = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    difference = real.mean(axis=0) - fake.mean(axis=0)
    exact = difference @ difference + np.sum(first**2) + np.sum(second**2) - 2.0 * nuclear
    fast, reported = both(real, fake)
    assert fast == pytest.approx(exact, rel=1e-6)
    assert abs(fast - reported) <= size * 2e-5


def test_frechet_distance_is_symmetric_and_moves_as_it_should():
    real, fake = RANDOM.standard_normal([80, 6]), 2.0 * RANDOM.standard_normal([90, 6])
    d = scores.frechet_distance(real, fake)
    rotation = np.linalg.qr(RANDOM.standard_normal([6, 6]))[0]
    assert scores.frechet_distance(fake, real) == pytest.approx(d)
    assert scores.frechet_distance(real @ rotation + 5.0, fake @ rotation + 5.0) == pytest.approx(d)
    assert scores.frechet_distance(3.0 * real, 3.0 * fake) == pytest.approx(9.0 * d)
    assert scores.frechet_distance(real, real + np.array([2.0, 0, 0, 0, 0, 0])) == pytest.approx(4.0)


def test_kernel_distance_is_the_mean_over_pairs():
    """k(x, y) = (xᵀy/d + 1)³ by a double loop, pairs of a feature with itself left out."""
    real, fake = RANDOM.standard_normal([7, 3]), RANDOM.standard_normal([5, 3])

    def k(x, y):
        return (x @ y / 3.0 + 1.0) ** 3

    def alone(x):
        return np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j])

    expected = alone(real) + alone(fake) - 2.0 * np.mean([k(x, y) for x in real for y in fake])
    assert scores.kernel_distance(real, fake) == pytest.approx(expected, rel=1e-12)
    assert tfgan.kernel_distance(real, fake) == pytest.approx(expected, rel=1e-12)


def test_the_fast_kernel_distance_is_tfgans():
    real, fake = RANDOM.standard_normal([1500, 20]), RANDOM.standard_normal([1300, 20]) + 0.1
    assert scores.kernel_distance(real, fake) == pytest.approx(tfgan.kernel_distance(real, fake), rel=1e-9)


def test_the_kernel_distance_of_many_is_whole_too(monkeypatch):
    real, fake = RANDOM.standard_normal([300, 5]), RANDOM.standard_normal([3, 5])
    expected = tfgan.kernel_distance(real, fake)
    monkeypatch.setattr(tfgan, "_ONE_BLOCK", 100)
    assert tfgan.kernel_distance(real, fake) == pytest.approx(expected, rel=1e-9)


def test_classifier_score_of_perfect_and_constant_classifiers():
    """Sure of each of K equally frequent classes: exactly K; the same distribution for all: exactly 1."""
    perfect = np.repeat(1e4 * np.eye(7), 5, axis=0)
    assert tfgan.classifier_score(perfect) == pytest.approx(7.0, rel=1e-12)
    assert tfgan.classifier_score(np.tile(RANDOM.standard_normal(7), [30, 1])) == pytest.approx(1.0, rel=1e-12)
    assert tfgan.classifier_score(perfect[:5]) == pytest.approx(1.0, rel=1e-12)  # sure of one class, always
    logits = np.log([[0.9, 0.1], [0.3, 0.7]])  # marginal (0.6, 0.4)
    kl = 0.5 * (0.9 * np.log(1.5) + 0.1 * np.log(0.25) + 0.3 * np.log(0.5) + 0.7 * np.log(1.75))
    assert tfgan.classifier_score(logits) == pytest.approx(np.exp(kl), rel=1e-12)


def test_prdc_of_a_line_worked_by_hand():
    """k = 1, k_density = 2 on a line.

    Real 0, 1, 3, 7: nearest 1, 1, 2, 4; second nearest 3, 2, 3, 6. Fake 0.5, 8, 30: nearest 7.5, 7.5, 22.
    Precision: 0.5 and 8 lie within 1 of a real one, 30 in no ball: 2/3. Recall: all four lie within 7.5 of 0.5: 1.
    Density: 0.5 is in the balls of 0 (3), 1 (2), 3 (3); 8 in that of 7; 30 in none: 4/(2·3).
    Coverage: the balls of all four hold a fake one: 0, 1 and 3 hold 0.5, 7 holds 8: 1.
    """
    real, fake = np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([[0.5], [8.0], [30.0]])
    found = scores.prdc(real, fake, k=1, k_density=2)
    assert found == pytest.approx({"precision": 2 / 3, "recall": 1.0, "density": 4 / 6, "coverage": 1.0})


def test_prdc_by_brute_force():
    real, fake = RANDOM.standard_normal([60, 4]), 0.8 * RANDOM.standard_normal([50, 4]) + 0.3
    distance = np.linalg.norm(real[:, None] - fake[None], axis=2)

    def radius(x, k):
        return np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, k]

    expected = {
        "precision": np.mean([any(distance[i, j] <= radius(real, 3)[i] for i in range(60)) for j in range(50)]),
        "recall": np.mean([any(distance[i, j] <= radius(fake, 3)[j] for j in range(50)) for i in range(60)]),
        "density": np.sum(distance <= radius(real, 5)[:, None]) / (5 * 50),
        "coverage": np.mean(distance.min(axis=1) <= radius(real, 5)),
    }
    found = scores.prdc(real, fake)
    assert found == pytest.approx(expected)
    assert 0.1 < found["precision"] < 1.0 > found["recall"] > 0.1  # or it would tell nothing


def test_prdc_of_a_set_with_itself_and_with_one_far_away():
    x = RANDOM.standard_normal([40, 3])
    same, far = scores.prdc(x, x), scores.prdc(x, x + 1e3)
    assert (same["precision"], same["recall"], same["coverage"]) == (1.0, 1.0, 1.0)
    assert far == {"precision": 0.0, "recall": 0.0, "density": 0.0, "coverage": 0.0}


def test_prdc_in_blocks_of_rows(monkeypatch):
    import sklearn.metrics

    real, fake = RANDOM.standard_normal([300, 2]), RANDOM.standard_normal([200, 2])
    whole, blocks = scores.prdc(real, fake), []
    chunked = sklearn.metrics.pairwise_distances_chunked

    def small(x, y, **options):
        for block in chunked(x, y, **{**options, "working_memory": 0.01}):
            blocks.append(len(block))
            yield block

    monkeypatch.setattr(sklearn.metrics, "pairwise_distances_chunked", small)
    assert scores.prdc(real, fake) == whole
    assert max(blocks) < 200


def test_no_score_depends_on_the_order():
    real, fake = RANDOM.standard_normal([70, 5]), RANDOM.standard_normal([60, 5]) + 0.2
    order = RANDOM.permutation(60)
    for score in (scores.frechet_distance, scores.kernel_distance, tfgan.frechet_distance, tfgan.kernel_distance):
        assert score(real, fake[order]) == pytest.approx(score(real, fake), rel=1e-9)
    assert scores.prdc(real, fake[order]) == scores.prdc(real, fake)
    assert tfgan.classifier_score(fake[order]) == pytest.approx(tfgan.classifier_score(fake), rel=1e-12)


def test_duplicated_samples():
    """Each sample twice: no change in the score; Σ grows by (1 − 1/n)/(1 − 1/2n), and so does the Fréchet distance."""
    real, fake = RANDOM.standard_normal([70, 5]), RANDOM.standard_normal([60, 5]) + 0.2
    twice = np.concatenate([fake, fake])
    assert tfgan.classifier_score(twice) == pytest.approx(tfgan.classifier_score(fake), rel=1e-12)
    shrunk = np.cov(fake, rowvar=False) * (59 / 60) / (119 / 120)
    expected = scores.gaussian_frechet_distance(
        real.mean(axis=0), np.cov(real, rowvar=False), fake.mean(axis=0), shrunk
    )
    assert scores.frechet_distance(real, twice) == pytest.approx(expected, rel=1e-12)
    assert scores.prdc(real, twice)["precision"] == scores.prdc(real, fake)["precision"]


def test_missing_modes_of_a_histogram():
    """Counts 3, 1, 0, 0 of four: KL = ¾ ln 3 + ¼ ln 1 nats."""
    found = scores.missing_modes([0, 1, 0, 0], 4)
    assert found == {
        "least_sampled_class": 0.0,
        "missing_classes": 2.0,
        "kl_to_uniform": pytest.approx(0.75 * np.log(3.0)),
        "class_histogram": [3, 1, 0, 0],
    }


@pytest.mark.parametrize(
    "classes, least, missing, kl",
    [
        (np.arange(12) % 4, 3.0, 0.0, 0.0),
        (np.zeros(5, int), 0.0, 3.0, np.log(4.0)),
        (np.array([0, 1, 2, 3, -1, -1]), 1.0, 0.0, 0.0),
        (np.array([-1, -1]), 0.0, 4.0, np.inf),
    ],
)
def test_missing_modes_of_the_extremes(classes, least, missing, kl):
    found = scores.missing_modes(classes, 4)
    assert (found["least_sampled_class"], found["missing_classes"]) == (least, missing)
    assert found["kl_to_uniform"] == pytest.approx(kl, abs=1e-12)


def test_nearest_mode():
    """σ = 0.1: 0.29 from (0, 0) is within three, 0.31 is not."""
    points = np.array([[0.29, 0.0], [0.31, 0.0], [0.9, 1.05]])
    assert scores.nearest_mode(points, [[0, 0], [1, 1]], 0.1).tolist() == [0, -1, 1]


X = np.zeros([10, 3])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: scores.frechet_distance(X[:1], X), "at least 2 real features are needed, found 1"),
        (lambda: scores.frechet_distance(X, X[:0]), "at least 2 fake features are needed, found 0"),
        (lambda: scores.frechet_distance(X, X[:, :2]), "must be of one size, found 3 and 2"),
        (lambda: scores.frechet_distance(X[0], X), r"real features must be \[N, d\], found \[3\]"),
        (lambda: scores.kernel_distance(X, X + np.nan), "fake features must be finite, found 10 of 10 that are not"),
        (lambda: scores.prdc(X[:5], X), "at least 6 real features are needed, found 5"),
        (lambda: scores.prdc(X, X, k=0), "k must be at least 1, found 0"),
        (lambda: scores.missing_modes([], 3), r"classes must be whole numbers \[N\], found float64 \[0\]"),
        (lambda: scores.missing_modes([0, 3], 3), r"classes must lie in \[-1, 3\), found 0 to 3"),
        (lambda: scores.missing_modes([0.5], 3), "classes must be whole numbers"),
        (lambda: scores.nearest_mode(X, [[0, 0]], 1.0), r"centres must be \[K, 3\], as wide as points, found \[1, 2\]"),
        (lambda: tfgan.classifier_score(X + np.inf), "logits features must be finite"),
        (lambda: tfgan.frechet_distance(X, X[:1]), "at least 2 fake features"),
    ],
)
def test_mistakes_say_what_was_found(call, message):
    with pytest.raises(ValueError, match=message):
        call()
