"""The other libraries' scores of the features in a file, as JSON: run by scores.py, where there is no TensorFlow."""

import importlib.util
import json
import sys

import numpy as np


def main(path):
    """Prints what torch-fidelity and prdc, as far as they are installed, make of the arrays in `path`."""
    with np.load(path) as saved:
        real, fake, logits = saved["real"], saved["fake"], saved["logits"]
    found = {}
    if importlib.util.find_spec("torch_fidelity"):
        found |= fidelity(real, fake, logits)
    if importlib.util.find_spec("prdc"):
        import prdc

        five = prdc.compute_prdc(real[:2000, :128], fake[:2000, :128], nearest_k=5)
        found |= {name: float(value) for name, value in five.items()}
    print(json.dumps(found))


def fidelity(real, fake, logits):
    """FID, KID of one subset of all features, and Inception Score without splits."""
    import torch
    from torch_fidelity import metric_fid, metric_isc, metric_kid

    real, fake, logits = map(torch.from_numpy, (real, fake, logits))
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (real, fake)]
    kid = metric_kid.kid_features_to_metric(real, fake, kid_subsets=1, kid_subset_size=len(real), verbose=False)
    return {
        "FID": metric_fid.fid_statistics_to_metric(*statistics, False)[metric_fid.KEY_METRIC_FID],
        "KID": kid[metric_kid.KEY_METRIC_KID_MEAN],
        "IS": metric_isc.isc_features_to_metric(logits, splits=1)[metric_isc.KEY_METRIC_ISC_MEAN],
    }


if __name__ == "__main__":
    main(sys.argv[1])
