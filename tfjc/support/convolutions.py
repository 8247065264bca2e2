"""Convolutions with fewer multiplications: sub-pixel convolution and its counterpart."""

import tensorflow as tf

MOST_SUB_PIXEL_CHANNELS = 4  # up to as many c it is faster: 2.4 times at 3, slower at 64 (2 CPU cores)


def sub_pixel(x, kernel, s):
    """The transposed convolution ("same") with stride s of x [B, h, w, C] and a kernel [k, l, c, C]: [B, sh, sw, c].

    As a sub-pixel convolution (Shi et al. 2016): pixel s·i + p of the result is Σ_m x[i − m]·kernel[s·m + p + pad], for
    each p a convolution over a few shifts m. Its gradients are those of a transposed convolution.
    """

    @tf.custom_gradient
    def transposed(x, kernel):
        def gradients(dy):
            return tf.nn.conv2d(dy, kernel, s, "SAME"), _by_kernel(dy, x, kernel, s)

        return _sub_pixel(x, kernel, s), gradients

    return transposed(x, kernel)


def strided_convolution(x, kernel, s):
    """The convolution ("same") with stride s of images x [B, sh, sw, c] and a kernel [k, l, c, C]: [B, h, w, C].

    Its gradient by x, a transposed convolution, is a sub-pixel one.
    """

    @tf.custom_gradient
    def convolution(x, kernel):
        def gradients(dy):
            return _sub_pixel(dy, kernel, s), _by_kernel(x, dy, kernel, s)

        return tf.nn.conv2d(x, kernel, s, "SAME"), gradients

    return convolution(x, kernel)


def _by_kernel(images, maps, kernel, s):
    """The gradient of Σ maps·conv(images, kernel) by the kernel, and of Σ images·transposed(maps, kernel)."""
    return tf.raw_ops.Conv2DBackpropFilter(
        input=images, out_backprop=maps, filter_sizes=tf.shape(kernel), strides=[1, s, s, 1], padding="SAME"
    )


def _sub_pixel(x, kernel, s):
    axes = [(size, max(size - s, 0) // 2) for size in kernel.shape[:2]]  # the pad is that of "same"
    reach = max(max(-(-pad // s), (size - 1 - pad) // s) for size, pad in axes)  # of m, to either side
    shifts = 2 * reach + 1
    zeros = [[s * reach - pad, s * (shifts - reach) + pad - size] for size, pad in axes]
    taps = tf.reshape(tf.pad(kernel, [*zeros, [0, 0], [0, 0]]), [shifts, s, shifts, s, *kernel.shape[2:]])
    taps = tf.transpose(tf.reverse(taps, [0, 2]), [0, 2, 5, 1, 3, 4])
    taps = tf.reshape(taps, [shifts, shifts, kernel.shape[3], s * s * kernel.shape[2]])
    return tf.nn.depth_to_space(tf.nn.conv2d(x, taps, 1, "SAME"), s)
