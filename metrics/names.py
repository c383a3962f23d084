"""Names of metrics: the official ones and, by the same pattern, other numbers of images."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from .errors import MetricError

Role = Literal["distribution", "manifold", "probabilities", "perceptual"]

LEGACY_MAX_REAL = 50_000
KERNEL_MAX_REAL = 1_000_000
MANIFOLD_MAX_REAL = 200_000
PATHS = 50_000

EXISTING = (
    "fid50k_full, kid50k_full, pr50k3_full, dc50k5_full, is50k, ppl2_wend; with other numbers of images such as "
    "fid5k_full, fid500_full, pr5k3_full, is5k, ppl2_wend_1k; without _full against 50,000 reals at most; "
    "ppl_zfull, ppl_wfull, ppl_zend, ppl_wend"
)


@dataclasses.dataclass(frozen=True)
class Request:
    """One metric to measure.

    name: as it was asked for. num_fake: images to generate (of path lengths: paths). role: which detector it takes.
    """

    name: str
    num_fake: int
    role: ClassVar[Role]
    min_images: ClassVar[int] = 2

    @property
    def min_fake(self) -> int:
        """Fewer images give no number at all."""
        return self.min_images

    def of_count(self, count: int) -> str:
        """The name of the same metric for another number of images."""
        return re.sub(r"\d+k?", _count_text(count), self.name, count=1)


@dataclasses.dataclass(frozen=True)
class ComparedRequest(Request):
    """A comparison with real images, at most `max_real` of them; None: all."""

    max_real: int | None

    @property
    def min_real(self) -> int:
        return self.min_fake


@dataclasses.dataclass(frozen=True)
class FrechetRequest(ComparedRequest):
    role = "distribution"


@dataclasses.dataclass(frozen=True)
class KernelRequest(ComparedRequest):
    role = "distribution"
    num_subsets: int = 100
    max_subset_size: int = 1000


@dataclasses.dataclass(frozen=True)
class PrecisionRecallRequest(ComparedRequest):
    k: int
    role = "manifold"

    @property
    def min_fake(self) -> int:
        return self.k + 1

    def of_count(self, count: int) -> str:
        return _with_neighbors("pr", count, self)


@dataclasses.dataclass(frozen=True)
class DensityCoverageRequest(ComparedRequest):
    k: int
    role = "manifold"

    @property
    def min_real(self) -> int:
        return self.k + 1

    def of_count(self, count: int) -> str:
        return _with_neighbors("dc", count, self)


@dataclasses.dataclass(frozen=True)
class InceptionScoreRequest(Request):
    splits: int = 10
    role = "probabilities"

    @property
    def min_fake(self) -> int:
        return self.splits


@dataclasses.dataclass(frozen=True)
class PathLengthRequest(Request):
    space: Literal["z", "w"]
    sampling: Literal["full", "end"]
    role = "perceptual"

    def of_count(self, count: int) -> str:
        return f"ppl2_{self.space}{self.sampling}_{_count_text(count)}"


def parse_metrics(text: str) -> tuple[Request, ...]:
    """`fid50k_full,pr50k3_full` to the metrics; see `parse_names`."""
    return parse_names(name.strip() for name in text.split(","))


def parse_names(names: Iterable[str]) -> tuple[Request, ...]:
    """Each metric once, in the order given. MetricError for a name that is none, or no names."""
    requests = tuple(parse_name(name) for name in dict.fromkeys(names))
    if not requests:
        raise MetricError(f"no metrics are named; there are {EXISTING}")
    return requests


def parse_name(name: str) -> Request:
    """What a name such as fid50k_full asks for."""
    request = _parse(name)
    if request is None:
        raise MetricError(f"there is no metric {name!r}; there are {EXISTING}")
    if request.num_fake < request.min_fake:
        raise MetricError(f"{name}: {request.num_fake} images give no number, at least {request.min_fake} do")
    return request


def real_limit(requests: Sequence[Request]) -> int | None:
    """How many real images the metric takes that takes the fewest; None: all of them take all."""
    limits = [one.max_real for one in requests if isinstance(one, ComparedRequest) and one.max_real is not None]
    return min(limits, default=None)


def roles_of(requests: Sequence[Request]) -> tuple[Role, ...]:
    """The kinds of detectors that the metrics take, each once."""
    return tuple(dict.fromkeys(request.role for request in requests))


def _parse(name: str) -> Request | None:
    if match := re.fullmatch(r"(fid|kid)(\d{1,7}k?)(_full)?", name):
        count, full = _count(match[2]), bool(match[3])
        if match[1] == "fid":
            return FrechetRequest(name, count, None if full else LEGACY_MAX_REAL)
        return KernelRequest(name, count, KERNEL_MAX_REAL if full else LEGACY_MAX_REAL)
    if match := re.fullmatch(r"(pr|dc)(\d{1,7}k?)([1-9])(_full)?", name):  # the last digit is k
        count, k = _count(match[2]), int(match[3])
        kind = PrecisionRecallRequest if match[1] == "pr" else DensityCoverageRequest
        return kind(name, count, MANIFOLD_MAX_REAL if match[4] else LEGACY_MAX_REAL, k)
    if match := re.fullmatch(r"is(\d{1,7}k?)", name):
        return InceptionScoreRequest(name, _count(match[1]))
    if match := re.fullmatch(r"ppl2?_([zw])(full|end)(?:_(\d{1,7}k?))?", name):
        return PathLengthRequest(name, _count(match[3]) if match[3] else PATHS, match[1], match[2])
    return None


def _count(text: str) -> int:
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)


def _count_text(count: int) -> str:
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


def _with_neighbors(kind: str, count: int, request: PrecisionRecallRequest | DensityCoverageRequest) -> str:
    full = "_full" if request.name.endswith("_full") else ""
    return f"{kind}{_count_text(count)}{request.k}{full}"
