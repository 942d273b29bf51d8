"""Costs against the table of hand counts, and against PyTorch's own counter as a witness."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from mcubench import models
from mcubench.cost import BitWidths, CostReport, count_macs, profile, profile_graph
from mcubench.graph import Graph, deploy, trace
from tests.known_answers import KNOWN_ANSWERS, OURS, KnownAnswer

ROWS = {row.name: row for row in KNOWN_ANSWERS}

# Where the witness is wrong: what it says, and why.
DISAGREEMENTS = {
    "low-rank-weight": (16 * 12 + 12 * 2 * 16, "it counts the product of two weights, which never runs on a device"),
    "matrix-vector": (10 * 3, "it has no formula for the product of a matrix and a vector"),
}

# torch.backends.mkldnn.flags sets every setting of oneDNN, also one for GPUs that are not there.
pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration")

each_row = pytest.mark.parametrize("row", KNOWN_ANSWERS, ids=str)


@functools.cache
def traced(name: str) -> Graph:
    """The graph of a row; traced once a session."""
    row = ROWS[name]
    return trace(row.make(), row.inputs(), row.batch_dim)


@functools.cache
def report(name: str, widths: BitWidths | None = None, count_bias: bool = False) -> CostReport:
    return profile_graph(traced(name), name, widths, count_bias)


def figures(found: CostReport) -> dict[str, int | None]:
    return {"macs": found.macs, "params": found.params, "flash": found.flash_bytes, "ram": found.ram_bytes}


def expected(row: KnownAnswer) -> dict[str, int | None]:
    return {"macs": row.macs, "params": row.params, "flash": row.flash, "ram": row.ram}


def priced(name: str, weight: int, activation: int = 8, **per_layer: int) -> CostReport:
    """At other widths; layers by their paths, with _ for each point."""
    widths = BitWidths(weight, activation, {path.replace("_", "."): bits for path, bits in per_layer.items()})
    return profile_graph(traced(name), name, widths)


@contextmanager
def nothing_fused() -> Iterator[None]:
    """Products run as operators for which the witness has formulas."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@functools.cache
def witnessed(name: str) -> int:
    """Multiply-accumulates as PyTorch counts them: on the meta device, where steps are free, or on the CPU."""
    row = ROWS[name]

    def on(device: str) -> int:
        def moved(leaf: Any) -> Any:
            return leaf.to(device) if isinstance(leaf, Tensor) else leaf

        module: nn.Module = row.make().eval().to(device)
        with nothing_fused(), FlopCounterMode(display=False) as counter:
            module(*tree_map(moved, row.inputs()))
        return counter.get_total_flops() // 2  # it counts multiplications and additions

    try:
        return on("meta")
    except (NotImplementedError, RuntimeError):  # operators without a kernel there
        return on("cpu")


def test_there_are_enough_rows_and_no_name_twice() -> None:
    assert len(ROWS) == len(KNOWN_ANSWERS) >= 40


def test_every_model_has_a_known_answer() -> None:
    assert {type(row.make()).__name__ for row in OURS} == set(models.__all__) - {"Classifier"}


class TestHandCounts:
    @each_row
    def test_all_figures(self, row: KnownAnswer) -> None:
        found = report(row.name)
        assert not found.unsupported
        assert figures(found) == expected(row)
        assert found.unused_params == row.unused

    @each_row
    def test_parameters_are_those_of_the_module(self, row: KnownAnswer) -> None:
        assert sum(parameter.numel() for parameter in row.make().parameters()) == row.params

    @each_row
    def test_passes_keep_the_multiplications(self, row: KnownAnswer) -> None:
        graph = traced(row.name)
        assert not graph.unknown()
        assert count_macs(graph).total == count_macs(deploy(graph)).total == row.macs

    def test_profile_is_all_that_is_needed(self) -> None:
        row = ROWS["lstm-sequence-first"]
        assert figures(profile(row.make(), row.inputs(), batch_dim=row.batch_dim)) == expected(row)

    def test_relu_behind_a_pool_is_fused_before_it(self) -> None:
        assert [layer.op for layer in report("cnn-28x28").layers] == ["Conv 3x3 + relu", "MaxPool 2x2", "Dense"]


class TestWitness:
    @each_row
    def test_multiplications(self, row: KnownAnswer) -> None:
        said, _ = DISAGREEMENTS.get(row.name, (row.macs, ""))
        assert witnessed(row.name) == said

    @pytest.mark.parametrize("name", DISAGREEMENTS)
    def test_every_disagreement_is_one(self, name: str) -> None:
        assert witnessed(name) != ROWS[name].macs

    def test_it_leaves_pytorch_as_it_was(self) -> None:
        before = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled, torch.is_grad_enabled()
        with nothing_fused():
            assert not torch.backends.mha.get_fastpath_enabled()
        with pytest.raises(ValueError, match="inside"), nothing_fused():
            raise ValueError("inside")
        after = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled, torch.is_grad_enabled()
        assert after == before


@each_row
class TestSums:
    def test_of_layers(self, row: KnownAnswer) -> None:
        found = report(row.name)
        assert sum(layer.macs or 0 for layer in found.layers) == row.macs
        assert sum(layer.params for layer in found.layers) + row.unused == row.params
        assert sum(layer.flash_bytes for layer in found.layers) == row.flash
        assert sum(line.bytes for line in found.flash.lines) == row.flash

    def test_of_multiplications_by_layer_and_operator(self, row: KnownAnswer) -> None:
        counted = report(row.name).mac_count
        assert sum(counted.by_layer.values()) == sum(counted.by_op.values()) == row.macs
        assert min(counted.by_layer.values(), default=0) >= 0

    def test_arena_holds_what_every_step_needs(self, row: KnownAnswer) -> None:
        found = report(row.name)
        assert row.ram >= found.memory.lower_bound == max(found.memory.live)
        assert max((layer.ram_bytes for layer in found.layers), default=0) <= row.ram
        assert all(placed.offset % 16 == 0 and placed.end <= row.ram for placed in found.memory.placements)
        for index, one in enumerate(found.memory.placements):
            for other in found.memory.placements[index + 1 :]:
                apart = one.end <= other.offset or other.end <= one.offset
                assert apart or one.buffer.last < other.buffer.first or other.buffer.last < one.buffer.first


@pytest.mark.parametrize(
    ("name", "additions"),
    [
        ("mlp-784-42-10", 42 + 10),
        ("mlperf-tiny-autoencoder", 8 * 128 + 8 + 640),
        ("cnn-28x28", 28 * 28 * 32 + 10),
        ("dscnn-28x28", 10),  # batch norms are not biases
        ("conv-transposed", 10 * 10 * 4),
        ("conv-without-bias", 0),
        ("linear-function", 0),
        ("addmm", 10),
        ("keras-without-flatten", 784 * 42 + 784 * 10),
        ("lstm", 128 * 4 * 32),  # the two biases of a gate are one
        ("lstm-sequence-first", 128 * 4 * 32),
        ("lstm-without-bias", 0),
        ("lstm-two-layers-bidirectional", 2 * 2 * 128 * 4 * 32),
        ("gru", 128 * 4 * 32),  # of the new gate both are needed
        ("rnn", 128 * 32),
        ("lstm-cell", 8 * 4 * 32),
        ("gru-cell", 8 * 4 * 32),
    ],
)
def test_additions_of_biases_can_be_counted(name: str, additions: int) -> None:
    assert report(name, count_bias=True).macs == ROWS[name].macs + additions


class TestOtherWidths:
    """Weights packed, each tensor to whole bytes; biases of integer layers stay int32, floats have nothing else."""

    @pytest.mark.parametrize(
        ("name", "flash", "ram"),
        [
            ("mlp-784-42-10", 4 * (784 * 42 + 42 + 42 * 10 + 10), 4 * (784 + 42)),
            # Batch norms folded: one bias a channel.
            (
                "dscnn-28x28",
                4 * ((9 + 1) * 32 + 3 * ((9 + 1) * 32 + (32 + 1) * 32) + (32 + 1) * 10),
                4 * 2 * 14 * 14 * 32,
            ),
            # One bias a gate; hidden and cell state, kept while it runs and returned.
            ("lstm", 4 * (4 * 32 * (9 + 32) + 4 * 32), 4 * (1152 + 4096 + 2 * 32 + 2 * 32)),
            ("gru", 4 * (3 * 32 * (9 + 32) + 4 * 32), 4 * (1152 + 4096 + 32 + 32)),
            # Tokens stay 64-bit integers.
            ("embedding", 4 * (50 * 8 + 8 * 4 + 4), 12 * 8 + 4 * 12 * 8),
        ],
    )
    def test_floats(self, name: str, flash: int, ram: int) -> None:
        found = priced(name, 32, 32)
        assert (found.flash_bytes, found.ram_bytes, found.macs) == (flash, ram, ROWS[name].macs)

    def test_half_floats(self) -> None:
        found = priced("mlp-784-42-10", 16, 16)
        assert (found.flash_bytes, found.ram_bytes) == (2 * (784 * 42 + 42 + 42 * 10 + 10), 2 * (784 + 42))

    @pytest.mark.parametrize(
        ("bits", "weights"),
        [
            (4, 784 * 42 // 2 + 420 // 2),
            (2, 784 * 42 // 4 + 420 // 4),
            (1, 784 * 42 // 8 + 53),  # 420 bits are 52.5 bytes
        ],
    )
    def test_packed_integers(self, bits: int, weights: int) -> None:
        assert priced("mlp-784-42-10", bits).flash_bytes == weights + 12 * 42 + 12 * 10

    def test_packed_activations(self) -> None:
        found = priced("mlp-784-42-10", 8, 4)
        assert found.flash_bytes == ROWS["mlp-784-42-10"].flash
        assert found.ram_bytes == 25 * 16 + 21  # the input's 392 end in the middle of 16 bytes

    def test_lstm_has_cell_states_of_16_bits_or_more(self) -> None:
        assert priced("lstm", 4, 4).ram_bytes == (1152 + 4096) // 2 + 2 * 16 + 32 // 2 + 2 * 32
        assert priced("lstm", 8, 16).ram_bytes == 2 * (1152 + 4096) + 2 * 64 + 2 * 32 + 2 * 32
        assert priced("lstm", 4).flash_bytes == 4 * 32 * (9 + 32) // 2 + 4 * 4 * 32 + 2 * 4 * 8

    def test_layers_of_their_own(self) -> None:
        rest = 12 * 42 + 12 * 10
        assert priced("mlp-784-42-10", 8, layers_1=4).flash_bytes == 784 * 42 // 2 + 42 * 10 + rest
        assert priced("mlp-784-42-10", 1, layers_3=8).flash_bytes == 784 * 42 // 8 + 42 * 10 + rest
        assert priced("mlp-784-42-10", 8, layers=2, layers_3=8).flash_bytes == 784 * 42 // 4 + 42 * 10 + rest
        half_float = priced("mlp-784-42-10", 4, layers_3=16)
        assert half_float.flash_bytes == (784 * 42 // 2 + 12 * 42) + 2 * (42 * 10 + 10)
        assert half_float.ram_bytes == ROWS["mlp-784-42-10"].ram
