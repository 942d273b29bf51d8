"""What a checkpoint says of the training: hand-made checkpoints, and networks that it is not of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.quant.training import checked_widths, find_qat_state, trained_ranges

STATE = {
    "weight_bits": 4,
    "activation_bits": 8,
    "per_layer": {"2": 2},
    "batches": 7,
    "ranges": {"input:0": (-1.0, 1.0), "relu:0": (0.0, 3.0), "linear:1": (-2.0, 2.5)},
}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_ranges_of_all_values() -> None:
    graph, ranges, widths = trained_ranges(net(), torch.zeros(1, 4), STATE)
    assert [ranges[value] for value in (*graph.inputs, *(node.output for node in graph.nodes))] == [
        (-1.0, 1.0),
        (0.0, 3.0),
        (-2.0, 2.5),
    ]
    assert widths == BitWidths(4, 8, {"2": 2})


def test_fixed_grids_are_left_out() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())
    state = {**STATE, "per_layer": {}, "ranges": {"input:0": (0.0, 1.0), "linear:0": (-1.0, 1.0)}}
    graph, ranges, _ = trained_ranges(module, torch.zeros(1, 4), state)
    assert graph.outputs[0] not in ranges
    assert len(ranges) == 2


@pytest.mark.parametrize(
    ("module", "state", "pattern"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), STATE, "of another network.* differ in linear:1"),
        (net(), {**STATE, "ranges": {}}, "before quantisation began"),
        (net(), {**STATE, "per_layer": {"3": 2}}, "no layer '3'"),
    ],
)
def test_another_network_is_refused(module: nn.Module, state: dict[str, object], pattern: str) -> None:
    with pytest.raises(UserError, match=pattern):
        trained_ranges(module, torch.zeros(1, 4), state)


def test_finding_it() -> None:
    assert find_qat_state({"state_dict": {}, "callbacks": {"QuantizationAwareTraining": STATE}}) is STATE
    assert find_qat_state({"state_dict": {}}) is None
    assert find_qat_state({"state_dict": {}, "callbacks": {"MACs": {}}}) is None
    assert find_qat_state({"callbacks": {"QuantizationAwareTraining": {**STATE, "ranges": {}}}}) is None


@pytest.mark.parametrize("widths", [BitWidths(16), BitWidths(1), BitWidths(8, 16), BitWidths(8, 8, {"0": 32})])
def test_widths_that_no_one_trains(widths: BitWidths) -> None:
    with pytest.raises(UserError, match=r"must be 8, 4( or|, or) ?(2)?|must be 8 or 4"):
        checked_widths(widths)
