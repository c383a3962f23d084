"""The one place where torchvision is imported.

A CUDA wheel of torchvision cannot load its compiled operators beside a CPU-only torch, and its import then
stops where it describes one of them: "operator torchvision::nms does not exist". Only network definitions are
needed here, so the missing operators are declared (without an implementation: calling one still fails) and
the import is made again.
"""

import importlib
import re
import sys
from types import ModuleType

import torch

from stylegan2ada.errors import UserError

# The operators that torchvision 0.24 to 0.28 describes whether or not its compiled library was loaded.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")

# A declaration lasts as long as its library object.
_library = torch.library.Library("torchvision", "FRAGMENT")


def import_torchvision() -> ModuleType:
    """The torchvision package, also where only its compiled operators cannot be loaded.

    Raises `UserError` where torchvision is not installed; any other failure of its import is passed on.
    """
    try:
        return _import()
    except RuntimeError as error:
        missing = _MISSING_OPERATOR.search(str(error))
        if missing is None or missing.group(1) not in _SCHEMAS:
            raise
    _declare_missing_operators()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    return _import()


def _import() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise UserError(
            "torchvision is not installed: install the release that belongs to your torch "
            f"({torch.__version__}), e.g. `pip install torchvision`"
        ) from error


def _declare_missing_operators() -> None:
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            _library.define(schema)
