"""The core that ``emulate`` runs a model on."""

from __future__ import annotations

from mcubench.cost import find_device
from mcubench.cost.devices import Device
from mcubench.errors import UserError
from mcubench.target import CORES, Core, find_core

__all__ = ["core_of"]


def core_of(device: str | None, core: str | None) -> tuple[Device | None, Core]:
    """The device, if one is named, and the core.

    Raises:
        UserError: If one is not known or not emulated, or they contradict each other.
    """
    if device is None:
        return None, find_core(core or "cortex-m4")
    found = find_device(device)
    if core not in (None, found.core):
        raise UserError(f"{found.name} has a {found.core}: leave out --core {core}, or --device")
    if found.core not in CORES:
        raise UserError(f"{found.name} has a {found.core}, which is not emulated; there are {', '.join(CORES)}")
    return found, CORES[found.core]
