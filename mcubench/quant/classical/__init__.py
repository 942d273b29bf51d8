"""Classical models as a device computes them: in integers, or in float32 operation by operation, to the last bit."""

from mcubench.quant.classical import rules  # noqa: F401 - fills the table of kernels
from mcubench.quant.classical.building import NotOnDeviceError, classical_graph
from mcubench.quant.classical.widths import FORMS, Form

__all__ = ["FORMS", "Form", "NotOnDeviceError", "classical_graph"]
