"""torch-fidelity's and prdc's metrics on features, where these packages are installed. Neither is a dependency."""

import contextlib
import importlib.util
import io

import numpy as np
import torch

from spine_ext.torchvision_compat import import_torchvision


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def frechet(real: np.ndarray, fake: np.ndarray, bias: bool) -> float:
    """bias False: with torch-fidelity's own statistics, covariances divided by N - 1. True: its distance for statistics
    with covariances divided by N."""
    module = _module("metric_fid")
    sets = [torch.from_numpy(each.astype(np.float64)) for each in (real, fake)]
    statistics = [module.fid_features_to_statistics(each) for each in sets]
    if bias:
        statistics = [one | {"sigma": np.cov(each.numpy(), rowvar=False, bias=True)}
                      for one, each in zip(statistics, sets, strict=True)]  # fmt: skip
    return module.fid_statistics_to_metric(*statistics, verbose=False)[module.KEY_METRIC_FID]


def kid(real: np.ndarray, fake: np.ndarray, subsets: int, subset_size: int, seed: int = 0) -> float:
    """In the type of the features."""
    module = _module("metric_kid")
    result = module.kid_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), kid_subsets=subsets, kid_subset_size=subset_size,
        rng_seed=seed, verbose=False,
    )  # fmt: skip
    return result[module.KEY_METRIC_KID_MEAN]


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    module = _module("metric_prc")
    result = module.prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=k, verbose=False
    )
    return result[module.KEY_METRIC_PRECISION], result[module.KEY_METRIC_RECALL]


def inception_score(logits: np.ndarray, splits: int, shuffle: bool = False) -> tuple[float, float]:
    module = _module("metric_isc")
    result = module.isc_features_to_metric(torch.from_numpy(logits), splits, shuffle)
    return result[module.KEY_METRIC_ISC_MEAN], result[module.KEY_METRIC_ISC_STD]


def prdc(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage of the authors of the latter two; a point on a sphere is outside."""
    compute = importlib.import_module("prdc").compute_prdc
    with contextlib.redirect_stdout(io.StringIO()):
        result = compute(real, fake, k)
    return tuple(float(result[name]) for name in ("precision", "recall", "density", "coverage"))


def _module(name: str):
    import_torchvision()  # torch-fidelity imports it; beside a CPU-only torch that may need help
    return importlib.import_module(f"torch_fidelity.{name}")
