"""MNIST, Fashion-MNIST, CIFAR-10 and STL-10 from tensorflow-datasets."""

import os
import socket
import urllib.parse
import urllib.request

import numpy as np
import tensorflow as tf

from tfjc import geometry


def load(
    name: str, split: str, size: int, data_dir: str | os.PathLike | None, manual_dir: str | os.PathLike | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of a tensorflow-datasets dataset in the order of its files.

    Args:
      name: the dataset's name.
      split: a split, or a slice of one, as tensorflow-datasets writes it.
      size: pixels of a side after resizing.
      data_dir: tensorflow-datasets' data directory.
      manual_dir: a directory with the dataset's official archives.

    Returns:
      (images uint8 [N, size, size, channels], labels [N] or None).

    Raises:
      ValueError: the dataset is not prepared and cannot be downloaded, its files are damaged, or the split is unknown.
    """
    builder = _prepare(name, data_dir, manual_dir)
    try:
        count = builder.info.splits[split].num_examples
    except (ValueError, KeyError) as error:
        valid = ", ".join(builder.info.splits)
        raise ValueError(f"dataset {name!r} has the splits {valid} and slices of them, found {split!r}") from error
    try:
        images, labels = _read(builder.as_dataset(split=split, shuffle_files=False), size)
    except Exception as error:  # tensorflow-datasets and TensorFlow raise errors of many types
        raise ValueError(_damaged(name, builder.data_dir, error)) from error
    if len(images) != count:
        raise ValueError(_damaged(name, builder.data_dir, f"expected {count} images, found {len(images)}"))
    return images, (labels if labels.min() >= 0 else None)  # −1 is no label


def _read(examples, size):
    """(images, labels) of a tensorflow-datasets dataset."""
    images, labels = [], []
    for batch in examples.map(lambda example: _resized(example, size), num_parallel_calls=2).batch(1000).prefetch(2):
        images.append(batch["image"].numpy())
        labels.append(batch["label"].numpy())
    return (np.concatenate(images), np.concatenate(labels)) if images else (np.zeros([0]), np.zeros([0]))


def _damaged(name, folder, reason):
    text = reason if isinstance(reason, str) else geometry.summary(reason)
    return f"dataset {name!r} in {folder} is damaged: {text}. Remove that folder and prepare the dataset again"


def _resized(example, size):
    image = example["image"]
    if image.shape[0] != size:
        resized = tf.image.resize(image, [size, size], antialias=True)
        image = tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)
    return {"image": image, "label": example["label"]}


def _prepare(name, data_dir, manual_dir):
    import tensorflow_datasets as tfds  # slow to import

    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except Exception as error:  # it reads dataset_info.json, and passes on any error
        raise ValueError(_damaged(name, os.path.join(str(data_dir or "~/tensorflow_datasets"), name), error)) from error
    if not builder.is_prepared():
        try:
            _check_sources(builder.url_infos, manual_dir)
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
        except Exception as error:  # tensorflow-datasets passes on any error of its network and file layers
            raise ValueError(_unavailable(name, builder, manual_dir, error)) from error
    return builder


def _check_sources(url_infos, manual_dir):
    """Raises OSError where a download is sure to fail: tensorflow-datasets would retry for minutes."""
    if urllib.request.getproxies():
        return
    for url, info in url_infos.items():
        if not (manual_dir and os.path.exists(os.path.join(manual_dir, info.filename))):
            host = urllib.parse.urlparse(url).hostname
            try:
                socket.getaddrinfo(host, None)
            except OSError as error:
                raise OSError(f"no network: {host} has no address") from error


def _unavailable(name, builder, manual_dir, error):
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    archives = ", ".join(sorted(info.filename for info in builder.url_infos.values()))
    where = f"; not all are in {manual_dir}" if manual_dir else ""
    return (
        f"dataset {name!r} is not prepared in {os.path.dirname(os.path.dirname(builder.data_dir))} "
        f"and could not be downloaded ({reason}). Give either\n"
        f"  --data_dir=DIR    a tensorflow-datasets directory in which {name} is prepared, or\n"
        f"  --manual_dir=DIR  a directory with the official archives ({archives}{where}), or\n"
        f"  --gin_file=gin/digits_jc.gin, which needs no network and no files."
    )
