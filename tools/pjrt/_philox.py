"""TensorFlow's stateless random numbers in NumPy, so that weights and latents need not be carried: their seeds are.

The bits are TensorFlow's own (Philox 4×32-10; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
Normals agree with TensorFlow's CPU kernels to the rounding of float32's logarithm, sine and cosine.
"""

import numpy as np

_MULTIPLIERS, _WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)


def bits(key: int, counter: tuple[int, int], count: int) -> np.ndarray:
    """The first `count` words uint32 of the stream of a key (64 bits) and a counter (two words of 64 bits)."""
    blocks = -(-count // 4)
    first = (int(counter[1]) << 64) | int(counter[0])
    low = np.uint64(first & (2**64 - 1)) + np.arange(blocks, dtype=np.uint64)
    carried = (low < np.uint64(first & (2**64 - 1))).astype(np.uint64)
    high = np.uint64(first >> 64) + carried
    x = [low & _LOW, low >> np.uint64(32), high & _LOW, high >> np.uint64(32)]
    keys = [int(key) & 0xFFFFFFFF, int(key) >> 32]
    for _ in range(10):
        products = x[0] * np.uint64(_MULTIPLIERS[0]), x[2] * np.uint64(_MULTIPLIERS[1])
        x = [
            (products[1] >> np.uint64(32)) ^ x[1] ^ np.uint64(keys[0]),
            products[1] & _LOW,
            (products[0] >> np.uint64(32)) ^ x[3] ^ np.uint64(keys[1]),
            products[0] & _LOW,
        ]
        keys = [(k + w) & 0xFFFFFFFF for k, w in zip(keys, _WEYL, strict=True)]
    return np.stack(x, axis=1).astype(np.uint32).reshape(-1)[:count]


def uniform(key: int, counter: tuple[int, int], shape) -> np.ndarray:
    """Float32 in [0, 1), multiples of 2⁻²³, as `tf.random.stateless_uniform` draws them."""
    return _unit(bits(key, counter, int(np.prod(shape)))).reshape(shape)


def normal(key: int, counter: tuple[int, int], shape) -> np.ndarray:
    """Float32 from N(0, 1) by Box and Muller's method, as `tf.random.stateless_normal` draws them."""
    count = int(np.prod(shape))
    pairs = _unit(bits(key, counter, count + count % 2)).reshape(-1, 2)
    angle = np.float32(2 * np.pi) * pairs[:, 1]
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(pairs[:, 0], np.float32(1e-7))))
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1).reshape(-1)[:count].reshape(shape)


def _unit(words):
    return ((words & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)).view(np.float32) - np.float32(1)


def permutation(key, count: int, rounds: int = 8) -> np.ndarray:
    """What `RandomIndexShuffle` makes of 0, 1, ..., count − 1 for a key of three words, int64 [count], count ≥ 2.

    A Feistel cipher on words of half the bits (Beaulieu et al. 2013, Simon), walked on until the value is in range.
    """
    width = max(16, (size := int(np.ceil(np.log2(count - 1)))) + size % 2) // 2
    mask = (1 << width) - 1
    keys = [int(word) & 0xFFFFFFFF & mask for word in key]
    for i in range(3, rounds):
        constant = (0xFFFFFFFC ^ ((0x7369F885192C0EF5 & mask) >> (i - 3)) & 1) & mask
        turned = _right(keys[-1], 3, width, mask) ^ _right(keys[-1], 4, width, mask)
        keys.append(constant ^ keys[-3] ^ turned)
    values, outside = np.arange(count), slice(None)
    while True:
        left, right = values[outside] >> width, values[outside] & mask
        for first, second in zip(keys[::2], keys[1::2], strict=True):
            left = left ^ _mixed(right, width, mask) ^ first
            right = right ^ _mixed(left, width, mask) ^ second
        values[outside] = left << width | right
        outside = np.flatnonzero(values >= count)
        if not len(outside):
            return values


def _right(x, by, width, mask):
    return (x >> by | x << (width - by)) & mask


def _mixed(x, width, mask):
    turned = [_right(x, width - by, width, mask) for by in (1, 8, 2)]
    return turned[0] & turned[1] ^ turned[2]
