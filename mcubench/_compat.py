"""Makes ``import lightning`` work beside a torchvision that was built for another torch.

``pip install torch torchvision`` can leave a CPU-only torch beside a CUDA-built torchvision. torchvision's compiled
library then does not load, its operators are never registered, and ``import torchvision`` fails with "operator
torchvision::nms does not exist". Lightning fails with it, because torchmetrics imports torchvision. We need only the
data-set half of torchvision, which is plain Python: declaring the two operators that it looks for at import is enough.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

__all__ = ["mend_torchvision"]

# The libraries stay registered only as long as these objects live.
_declared: list[object] = []


def mend_torchvision() -> bool:
    """Declares torchvision's operators if, and only if, its compiled library can't be loaded.

    Call it before the first import of lightning or torchvision; all of mcubench that imports lightning does.
    Calling it again does nothing.

    Returns:
        Whether the operators had to be declared.
    """
    if _declared:
        return True
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return False
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return True


def _loads(torchvision: Path) -> bool:
    """Whether the compiled library in the folder `torchvision` loads (loading it twice is harmless)."""
    import torch

    suffixes = {".pyd", ".dll"} if os.name == "nt" else {".so"}
    for library in torchvision.glob("_C*"):
        if library.suffix in suffixes:
            try:
                torch.ops.load_library(library)
            except OSError:
                return False
    return True
