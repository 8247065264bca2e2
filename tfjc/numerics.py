"""Safe norms, directions, what replicas share, the scale of images, sub-pixel convolution, and the XLA decision."""

import contextlib
import functools

import tensorflow as tf

from tfjc import checks


def full(x):
    """`x` in float32, or in float64 if that is what it is: nothing is measured or averaged in 16 bits."""
    return tf.cast(x, tf.float64 if x.dtype == tf.float64 else tf.float32)


def safe_norm(x):
    """Euclidean norm of each sample, ‖x_b‖₂ over all axes but the first: [B, ...] → [B].

    Formed in float32 or better. The gradient at x_b = 0, where the norm has none, is 0 and not nan; the norm of an x_b
    that is not finite is not finite.
    """
    x = full(x)
    squared = tf.reduce_sum(tf.square(x), axis=list(range(1, x.shape.rank)))
    zero = tf.equal(squared, 0)
    return tf.where(zero, tf.zeros_like(squared), tf.sqrt(tf.where(zero, tf.ones_like(squared), squared)))


def unit_directions(shape, seed, dtype=tf.float32):
    """Directions uniform on the unit sphere, one a row: δ/‖δ‖ with δ ~ N(0, I); `shape` [B, n_z], `seed` int[2].

    In a replica of a strategy they are its rows of the whole batch's.
    """
    delta = rows(functools.partial(tf.random.stateless_normal, seed=seed, dtype=dtype), shape)
    return delta / safe_norm(delta)[:, None]


def replicas():
    """How many replicas of the current `tf.distribute` strategy make a step together; 1 without one."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def rows(draw, shape, parts=1):
    """Noise draw(shape); in one of n replicas its rows of what is drawn for all of them, draw([n·B, ...]).

    So the noise of a batch does not depend on how many replicas share it. Where a batch is made of `parts` consecutive
    ones, each replica has rows of each.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(shape)
    shape = tf.convert_to_tensor(shape, tf.int32)
    n, size = context.num_replicas_in_sync, shape[0] // parts
    everybody = draw(tf.concat([shape[:1] * n, shape[1:]], axis=0))
    firsts = (tf.range(parts) * n + context.replica_id_in_sync_group) * size
    return tf.gather(everybody, tf.reshape(firsts[:, None] + tf.range(size), [parts * size]))


def mean_over_replicas(tensors):
    """The mean of each tensor over all replicas, when called in one of several; else the tensors."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensors)


def gather_over_replicas(tensor: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas [n·B, ...] of a tensor [B, ...], in order, when called in one of n; else the tensor."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_gather(tensor, axis=0)


def split_over_replicas(function):
    """`function` with the rows of the tensors it is called with split over the current strategy's replicas.

    It returns a tensor, or several, with a row for each of theirs; None among its arguments stays None. Rows that do
    not divide evenly are filled up with copies of the last one, which are dropped again. To run side by side, it is to
    be called in a graph.
    """
    strategy = tf.distribute.get_strategy()
    if not is_distributed():
        return function

    def part(*tensors):
        context = tf.distribute.get_replica_context()
        count = _count(tensors[0])
        size = -(-count // context.num_replicas_in_sync)
        mine = tf.minimum(context.replica_id_in_sync_group * size + tf.range(size), count - 1)
        return function(*(None if tensor is None else tf.gather(tensor, mine) for tensor in tensors))

    @functools.wraps(function)
    def whole(*tensors):
        found, count = strategy.run(part, args=tensors), _count(tensors[0])
        return tf.nest.map_structure(lambda parts: strategy.gather(parts, axis=0)[:count], found)

    return whole


def _count(tensor):
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]


def is_distributed():
    """Whether a `tf.distribute` strategy's scope is entered, and no replica of it: work can be given to replicas."""
    return tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context()


def all_workers(flag):
    """Whether `flag` is true in every worker of the current strategy; all must ask."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return flag
    flags = strategy.run(lambda: tf.constant([int(flag)]))
    return bool(tf.reduce_all(strategy.gather(flags, axis=0) == 1))


@contextlib.contextmanager
def without_tf32():
    """A context in which GPUs multiply float32 matrices as such, not in TF32, 10 bits, as TensorFlow lets them."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def to_images(x):
    """Images as float32 in [−1, 1]: integers 0..255 become x/127.5 − 1, floats pass unchanged."""
    x = tf.convert_to_tensor(x)
    return tf.cast(x, tf.float32) / 127.5 - 1.0 if x.dtype.is_integer else tf.cast(x, tf.float32)


def dequantised(x, seed, parts=1):
    """Images v of 0..255 as v/128 − 1 + u with u ~ U(0, 1/128), float32 in [−1, 1] (Gulrajani et al. 2017, their code).

    `parts` as in `rows`. Raises ValueError for images that are not of whole numbers.
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise ValueError(f"dequantise needs images of whole numbers 0 to 255 (uint8), found {x.dtype.name}")
    noise = rows(functools.partial(tf.random.stateless_uniform, seed=seed, maxval=1.0 / 128.0), tf.shape(x), parts)
    return tf.cast(x, tf.float32) / 128.0 - 1.0 + noise


def to_uint8(images):
    """Images in [−1, 1] as uint8: round((x + 1)·127.5), values outside the range clipped."""
    return tf.cast(tf.clip_by_value(tf.round((tf.cast(images, tf.float32) + 1.0) * 127.5), 0.0, 255.0), tf.uint8)


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


XLA_CHOICES = ("auto", "on", "off")
_xla = "auto"


def choose_xla(choice):
    """Sets what `use_xla` answers from now on: `on`, `off`, or `auto`; raises ValueError for any other choice."""
    global _xla
    _xla = checks.one_of("jit_compile", choice, XLA_CHOICES)


def xla_choice():
    """What `choose_xla` was told last: `auto` at first."""
    return _xla


def use_xla():
    """Whether training and measurements are compiled with XLA: `auto` (the default) is on for GPU and TPU, not for CPU.

    On CPU transposed convolutions are up to 50 times slower under XLA. Not with several replicas, whose variables live
    on several devices, while XLA compiles for one; on TPUs the strategy compiles what it runs.
    """
    if replicas() > 1 or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy):
        return False
    if _xla == "auto":
        return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))
    return _xla == "on"


def within_xla():
    """Whether XLA compiles what is being traced, by `use_xla` or by whoever traces it; True where that is not known."""
    try:
        from tensorflow.python.ops import control_flow_util  # there is no public way to ask

        inside = control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    except (ImportError, AttributeError):
        return True
    return inside or use_xla() or isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
