"""The arena: every plan is valid, near an optimum that brute force finds, and as counted by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.cost import BitWidths, MemoryPlan, plan_memory, profile
from mcubench.cost.memory import ALIGNMENT, Buffer, Placement, place
from mcubench.graph import Graph, Node, Op, Unknown, Value, deploy, ops, trace
from mcubench.graph.ir import Input

LAYER = ops.MatMul((Input(0),))  # stands for whatever can't write over its input
ACTIVATION = ops.Activation("tanh")
ADD = ops.Elementwise("add.Tensor", (Input(0), Input(1)))


class Draft:
    """A graph written by hand: `node` returns the value that it makes. Sizes are elements."""

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []

    def input(self, name: str, size: int, dtype: torch.dtype = torch.float32) -> Value:
        self.inputs.append(Value(name, (size,), dtype))
        return self.inputs[-1]

    def node(self, name: str, op: Op, *read: Value, size: int, dtype: torch.dtype = torch.float32) -> Value:
        value = Value(name, (size,), dtype)
        self.nodes.append(Node(name, op, read, (value,), ""))
        return value

    def graph(self, *outputs: Value) -> Graph:
        return Graph(tuple(self.nodes), tuple(self.inputs), outputs)


def lives(plan: MemoryPlan) -> dict[str, tuple[int, int, int]]:
    """Bytes, first and last step of every buffer, by name."""
    found = [each.buffer for each in plan.placements]
    assert len({each.name for each in found}) == len(found)
    return {each.name: (each.size, each.first, each.last) for each in found}


def offsets(placements: Sequence[Placement]) -> dict[str, int]:
    return {each.buffer.name: each.offset for each in placements}


def check(placements: Sequence[Placement], alignment: int = ALIGNMENT) -> None:
    """No two that are needed in one step share a byte, and every one starts where it may."""
    for index, one in enumerate(placements):
        assert one.offset >= 0
        assert one.offset % alignment == 0
        for other in placements[:index]:
            together = set(range(one.buffer.first, one.buffer.last + 1)) & set(
                range(other.buffer.first, other.buffer.last + 1)
            )
            apart = one.offset + one.buffer.size <= other.offset or other.offset + other.buffer.size <= one.offset
            assert apart or not together, (one, other)


def needed(buffers: Sequence[Buffer]) -> int:
    """Bytes of the step that needs the most."""
    steps = {step for each in buffers for step in (each.first, each.last)}
    return max(sum(each.size for each in buffers if each.first <= step <= each.last) for step in steps)


def optimum(buffers: Sequence[Buffer], alignment: int = 1) -> int:
    """The smallest arena there is, from all orders of putting each buffer on top of those it overlaps in time.

    Some order gives an optimum: that of the offsets in an optimal plan. By induction no buffer ends up higher than
    there, as those it has to lie on do not either.
    """
    least, best = needed(buffers), sum(math.ceil(each.size / alignment) * alignment for each in buffers)
    ends: dict[int, int] = {}

    def descend(peak: int) -> None:
        nonlocal best
        if peak >= best or best == least:
            return
        if len(ends) == len(buffers):
            best = peak
            return
        for index, each in enumerate(buffers):
            if index not in ends:
                below = (end for other, end in ends.items() if buffers[other].overlaps(each))
                offset = math.ceil(max(below, default=0) / alignment) * alignment
                ends[index] = offset + each.size
                descend(max(peak, ends[index]))
                del ends[index]

    descend(0)
    return best


def peak(placements: Sequence[Placement]) -> int:
    return max(each.offset + each.buffer.size for each in placements)


def buffers_of(*triples: tuple[int, int, int]) -> list[Buffer]:
    """From (size, first, last)."""
    return [Buffer(f"b{index}", *each) for index, each in enumerate(triples)]


@st.composite
def buffer_sets(draw: st.DrawFn, most: int = 7, size: int = 64, steps: int = 10) -> list[Buffer]:
    found = []
    for index in range(draw(st.integers(1, most))):
        first = draw(st.integers(0, steps - 1))
        found.append(Buffer(f"b{index}", draw(st.integers(1, size)), first, draw(st.integers(first, steps - 1))))
    return found


class TestPlacement:
    @settings(max_examples=300)
    @given(buffers=buffer_sets(most=20, size=200), alignment=st.sampled_from([1, 4, 16, 64]))
    def test_is_valid_and_not_below_the_bound(self, buffers: list[Buffer], alignment: int) -> None:
        placements = place(buffers, alignment)
        assert sorted(each.buffer.name for each in placements) == sorted(each.name for each in buffers)
        check(placements, alignment)
        assert peak(placements) >= needed(buffers)

    # Greedy placement can need nearly twice the optimum. How the factor was found: climbing from random sets of seven
    # buffers by changing sizes and lives at random, as long as the factor did not fall. The worst of 42 million sets
    # with sizes to 64 is the first example, 1.982; with sizes to 400 it is the second, 1.989. Six buffers gave 1.896,
    # five 1.660, four 1.496, three 1. The draws are fixed, as the bound was found and not proved.
    @settings(max_examples=300, derandomize=True)
    @given(buffers=buffer_sets())
    @example(
        buffers_of((53, 6, 6), (52, 7, 9), (62, 9, 9), (60, 1, 3), (52, 5, 8), (9, 5, 7), (53, 3, 5))
    )  # 226 instead of 114
    @example(
        buffers_of((182, 7, 7), (274, 9, 9), (180, 8, 9), (90, 6, 8), (269, 5, 5), (180, 6, 8), (184, 3, 6))
    )  # 903 instead of 454
    @example(buffers_of((34, 0, 2), (34, 5, 5), (38, 7, 7), (29, 6, 7), (32, 4, 6), (32, 1, 4)))  # 127 instead of 67
    def test_is_within_twice_the_optimum(self, buffers: list[Buffer]) -> None:
        best = optimum(buffers)
        assert needed(buffers) <= best <= peak(place(buffers, 1)) <= 2 * best

    @settings(max_examples=200)
    @given(buffers=buffer_sets(most=3))
    def test_three_buffers_are_placed_optimally(self, buffers: list[Buffer]) -> None:
        # Two small ones that both overlap the largest lie beside it or, if they overlap each other, on each other.
        assert peak(place(buffers, 1)) == optimum(buffers) == needed(buffers)

    @settings(max_examples=60)
    @given(buffers=buffer_sets(most=4, size=3, steps=5))
    def test_brute_force_finds_the_least_of_all_offsets(self, buffers: list[Buffer]) -> None:
        # Every offset of every buffer, without any thought about orders.
        tops = range(sum(each.size for each in buffers))
        valid = (
            max(start + each.size for start, each in zip(starts, buffers, strict=True))
            for starts in itertools.product(*(tops[: len(tops) - each.size + 1] for each in buffers))
            if all(
                one + buffers[i].size <= other or other + buffers[j].size <= one or not buffers[i].overlaps(buffers[j])
                for (i, one), (j, other) in itertools.combinations(enumerate(starts), 2)
            )
        )
        assert optimum(buffers) == min(valid)

    def test_brute_force_by_hand(self) -> None:
        # All three overlap, so their sum is the least. At 4 B they take 4, 8 and 8, but the topmost is not rounded up:
        # with 5 there, 4 + 8 + 5.
        buffers = buffers_of((3, 0, 4), (5, 2, 4), (7, 4, 6))
        assert optimum(buffers) == 15
        assert optimum(buffers, alignment=4) == 17

    def test_the_largest_first_is_not_always_best(self) -> None:
        # By hand, in the order of TFLite Micro's GreedyMemoryPlanner. Largest first: early and late (10 each, never at
        # once) both at 0; second (9, beside late) at 10; first (9, beside early and second) finds 0..10 and 10..19
        # taken and goes to 19: 28. The optimum is 19: first and late at 0, early at 9, second at 10 (it is not beside
        # early).
        first, second = Buffer("first", 9, 0, 5), Buffer("second", 9, 5, 6)
        early, late = Buffer("early", 10, 4, 4), Buffer("late", 10, 6, 7)
        placements = place([first, second, early, late], 1)
        assert [each.buffer.name for each in placements] == ["late", "early", "second", "first"]
        assert offsets(placements) == {"early": 0, "late": 0, "second": 10, "first": 19}
        assert peak(placements) == 28
        assert optimum([first, second, early, late]) == 19

    def test_the_lowest_gap_that_is_large_enough(self) -> None:
        # By hand: 64 at 0, 48 at 64, 40 over the freed 64 (0..40). At alignment 1, 24 fit at 40..64; 25 do not.
        base = [Buffer("a", 64, 0, 1), Buffer("b", 48, 0, 3), Buffer("c", 40, 2, 3)]
        assert offsets(place([*base, Buffer("d", 24, 3, 3)], 1))["d"] == 40
        assert offsets(place([*base, Buffer("d", 25, 3, 3)], 1))["d"] == 64 + 48
        # At 16 B it starts at 48, where only 16 are left.
        assert offsets(place([*base, Buffer("d", 16, 3, 3)], 16))["d"] == 48
        assert offsets(place([*base, Buffer("d", 17, 3, 3)], 16))["d"] == 64 + 48

    def test_of_equals_the_last_lies_lowest(self) -> None:
        # As GreedyMemoryPlanner fills its list from behind; tests/quant holds whole arenas against TFLite Micro's.
        assert offsets(place([Buffer("first", 8, 0, 1), Buffer("last", 8, 1, 2)])) == {"last": 0, "first": 16}

    def test_alignment_is_that_of_tflite_micro(self) -> None:
        # MicroArenaBufferAlignment() returns 16.
        assert offsets(place([Buffer("a", 33, 0, 0), Buffer("b", 1, 0, 0)])) == {"a": 0, "b": 48}


class TestByHand:
    def test_chain(self) -> None:
        draft = Draft()
        x = draft.input("x", 100)
        a = draft.node("a", LAYER, x, size=200)
        b = draft.node("b", LAYER, a, size=50)
        plan = plan_memory(draft.graph(b))
        assert plan.steps == ("input", "a", "b")
        assert lives(plan) == {"x": (100, 0, 1), "a": (200, 1, 2), "b": (50, 2, 2)}
        assert plan.live == (100, 300, 250)
        # a at 0..200, x behind it at 208 = 13 * 16, b there too when x is dead.
        assert offsets(plan.placements) == {"a": 0, "x": 208, "b": 208}
        assert (plan.peak, plan.lower_bound, plan.peak_step) == (308, 300, 1)

    def test_residual(self) -> None:
        draft = Draft()
        x = draft.input("x", 64)
        a = draft.node("a", LAYER, x, size=64)
        b = draft.node("b", LAYER, a, size=128)
        c = draft.node("c", LAYER, b, size=64)
        d = draft.node("d", ADD, c, a, size=64)
        e = draft.node("e", LAYER, d, size=16)
        plan = plan_memory(draft.graph(e))
        # The skip a lives to the addition, which writes over c; d lies there until e has read it.
        assert lives(plan) == {
            "x": (64, 0, 1),
            "a": (64, 1, 4),
            "b": (128, 2, 3),
            "c": (64, 3, 5),
            "e": (16, 5, 5),
        }
        assert plan.live == (64, 128, 192, 256, 128, 80)
        assert (plan.peak, plan.peak_step) == (256, 3)

    def test_activation_in_place(self) -> None:
        draft = Draft()
        x = draft.input("x", 10)
        a = draft.node("a", LAYER, x, size=30)
        b = draft.node("b", ACTIVATION, a, size=30)
        c = draft.node("c", ACTIVATION, b, size=30)
        plan = plan_memory(draft.graph(c))
        assert lives(plan) == {"x": (10, 0, 1), "a": (30, 1, 3)}
        assert plan.live == (10, 40, 30, 30)

    def test_activation_over_the_input_of_the_graph(self) -> None:
        draft = Draft()
        x = draft.input("x", 10)
        plan = plan_memory(draft.graph(draft.node("a", ACTIVATION, x, size=10)))
        assert lives(plan) == {"x": (10, 0, 1)}
        assert plan.peak == 10

    def test_unfolded_batch_norm_in_place(self) -> None:
        # Nothing stands before it to fold it into: channels of 5 elements, written over the input.
        report = profile(nn.BatchNorm1d(4), torch.zeros(1, 4, 5))
        assert report.memory.live == (20, 20)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_elementwise_over_the_input_that_dies(self, order: tuple[int, int]) -> None:
        draft = Draft()
        x = draft.input("x", 10)
        pair = (draft.node("a", LAYER, x, size=20), draft.node("b", LAYER, x, size=20))
        c = draft.node("c", ADD, *(pair[each] for each in order), size=20)
        d = draft.node("d", ADD, c, pair[0], size=20)  # a is read again, so c lies over b
        plan = plan_memory(draft.graph(d))
        assert lives(plan) == {"x": (10, 0, 2), "a": (20, 1, 4), "b": (20, 2, 4)}

    @pytest.mark.parametrize("what", ["read later", "output", "other size", "other width", "not elementwise"])
    def test_not_in_place(self, what: str) -> None:
        draft = Draft()
        x = draft.input("x", 1)
        a = draft.node("a", LAYER, x, size=30)
        b, outputs = None, []
        if what == "read later":
            b = draft.node("b", ACTIVATION, a, size=30)
            outputs = [draft.node("c", LAYER, a, size=1), b]
        elif what == "output":
            b = draft.node("b", ACTIVATION, a, size=30)
            outputs = [a, b]
        elif what == "other size":
            b = draft.node("b", ADD, a, x, size=60)
        elif what == "other width":  # 30 comparisons of a byte each from 30 activations of two
            b = draft.node("b", ops.Elementwise("gt.Scalar", (Input(0), 0.0)), a, size=30, dtype=torch.bool)
        else:
            b = draft.node("b", ops.Softmax(0), a, size=30)
        plan = plan_memory(draft.graph(*(outputs or [b])), BitWidths(activation=16))
        found = lives(plan)
        assert {"a", "b"} <= set(found)
        assert found["a"][0] == 60
        assert found["b"][0] == {"other size": 120, "other width": 30}.get(what, 60)

    def test_over_an_input_that_is_read_twice_at_equal_places(self) -> None:
        draft = Draft()
        x = draft.input("x", 64)
        assert lives(plan_memory(draft.graph(draft.node("a", ADD, x, x, size=64)))) == {"x": (64, 0, 1)}

    def test_not_over_an_input_that_is_broadcast(self) -> None:
        # One int64 number (8 B) times 8 weights gives 8 activations (8 B): the first would overwrite the number that
        # the other seven need.
        class Scaled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.randn(8))

            def forward(self, x: Tensor) -> Tensor:
                return x * self.weight

        plan = plan_memory(deploy(trace(Scaled(), torch.zeros(1, 1, dtype=torch.long))))
        assert plan.live == (8, 16)

    def test_reshape_is_free(self) -> None:
        draft = Draft()
        x = draft.input("x", 12)
        a = draft.node("a", LAYER, x, size=24)
        flat = draft.node("flat", ops.Reshape((24,)), a, size=24)
        again = draft.node("again", ops.Reshape((2, 12)), flat, size=24)
        b = draft.node("b", ACTIVATION, again, size=24)
        c = draft.node("c", ops.Reshape((24,)), b, size=24)
        plan = plan_memory(draft.graph(c))
        assert plan.steps == ("input", "a", "b")
        assert lives(plan) == {"x": (12, 0, 1), "a": (24, 1, 2)}

    def test_a_reshaped_value_stays_where_it_was(self) -> None:
        draft = Draft()
        x = draft.input("x", 12)
        flat = draft.node("flat", ops.Reshape((12,)), x, size=12)
        a = draft.node("a", LAYER, x, size=7)
        b = draft.node("b", ACTIVATION, flat, size=12)
        c = draft.node("c", ADD, x, flat, size=12)  # x twice, under two names
        plan = plan_memory(draft.graph(a, b, c))
        # b must not lie over x, which c reads; c may, as it reads x twice at equal places.
        assert lives(plan) == {"x": (12, 0, 3), "a": (7, 1, 3), "b": (12, 2, 3)}

    def test_a_reshaped_output_is_not_overwritten(self) -> None:
        draft = Draft()
        x = draft.input("x", 12)
        a = draft.node("a", LAYER, x, size=12)
        flat = draft.node("flat", ops.Reshape((12,)), a, size=12)
        b = draft.node("b", ACTIVATION, a, size=12)
        assert lives(plan_memory(draft.graph(flat, b))) == {"x": (12, 0, 1), "a": (12, 1, 2), "b": (12, 2, 2)}

    def test_input_that_is_an_output(self) -> None:
        draft = Draft()
        x = draft.input("x", 12)
        a = draft.node("a", ACTIVATION, x, size=12)
        b = draft.node("b", LAYER, a, size=5)
        plan = plan_memory(draft.graph(x, b))
        assert lives(plan) == {"x": (12, 0, 2), "a": (12, 1, 2), "b": (5, 2, 2)}
        assert plan.live == (12, 24, 29)

    def test_input_that_nobody_reads(self) -> None:
        # The application writes it nonetheless, before the first node runs; then its place is free.
        draft = Draft()
        x, _unread = draft.input("x", 12), draft.input("unread", 20)
        a = draft.node("a", LAYER, x, size=25)
        plan = plan_memory(draft.graph(a))
        assert lives(plan) == {"x": (12, 0, 1), "unread": (20, 0, 0), "a": (25, 1, 1)}
        assert plan.live == (32, 37)
        assert offsets(plan.placements) == {"a": 0, "unread": 0, "x": 32}

    def test_nothing_but_an_input(self) -> None:
        draft = Draft()
        plan = plan_memory(draft.graph(draft.input("x", 12)))
        assert (plan.steps, plan.live, plan.peak, plan.peak_step) == (("input",), (12,), 12, 0)

    def test_outputs_live_to_the_end(self) -> None:
        draft = Draft()
        x = draft.input("x", 8)
        one = draft.node("one", LAYER, x, size=3)
        two = draft.node("two", LAYER, x, size=5)
        three = draft.node("three", LAYER, two, size=2)
        plan = plan_memory(draft.graph(one, three, one))  # one of them returned twice
        assert lives(plan) == {"x": (8, 0, 2), "one": (3, 1, 3), "two": (5, 2, 3), "three": (2, 3, 3)}
        assert plan.live == (8, 11, 16, 10)

    def test_outputs_that_nobody_reads_need_no_memory(self) -> None:
        x, kept, unread = (Value(name, (10,), torch.float32) for name in ("x", "kept", "unread"))
        node = Node("split", LAYER, (x,), (unread, kept), "")
        plan = plan_memory(Graph((node,), (x,), (kept,)))
        assert lives(plan) == {"x": (10, 0, 1), "kept": (10, 1, 1)}

    @pytest.mark.parametrize(
        ("bits", "size"),
        # 13 activations: 52 bits are 6.5 B, so 7; 13 B; 26 B; 52 B.
        [(4, 7), (8, 13), (16, 26), (32, 52)],
    )
    def test_activation_bits(self, bits: int, size: int) -> None:
        draft = Draft()
        x = draft.input("x", 13)
        plan = plan_memory(draft.graph(draft.node("a", LAYER, x, size=13)), BitWidths(activation=bits))
        assert lives(plan) == {"x": (size, 0, 1), "a": (size, 1, 1)}

    @pytest.mark.parametrize("bits", [4, 8, 32])
    @pytest.mark.parametrize(
        ("dtype", "size"),
        [(torch.int64, 8 * 13), (torch.int32, 4 * 13), (torch.int16, 2 * 13), (torch.uint8, 13), (torch.bool, 13)],
    )
    def test_integers_have_their_own_width(self, bits: int, dtype: torch.dtype, size: int) -> None:
        draft = Draft()
        x = draft.input("x", 13, dtype)
        plan = plan_memory(draft.graph(draft.node("a", LAYER, x, size=1)), BitWidths(activation=bits))
        assert lives(plan)["x"] == (size, 0, 1)

    def test_tokens(self) -> None:
        # 7 tokens as int64 are 56 B at any activation width; their embeddings 7 * 4 at 16 bits are 56 B, too.
        plan = plan_memory(deploy(trace(nn.Embedding(9, 4), torch.zeros(1, 7).long())), BitWidths(activation=16))
        assert plan.live == (56, 56 + 56)

    @pytest.mark.parametrize(
        ("layer", "bits", "state"),
        # Hidden state of 10 at the activations' width; the LSTM's cell state has 16 bits, or more if these have, and so
        # has what a GRU goes on from, unless the hidden state has them.
        [
            (nn.LSTM(4, 10, batch_first=True), 8, 10 + 20),
            (nn.LSTM(4, 10, batch_first=True), 4, 5 + 20),
            (nn.LSTM(4, 10, batch_first=True), 16, 20 + 20),
            (nn.LSTM(4, 10, batch_first=True), 32, 40 + 40),
            (nn.LSTM(4, 10, batch_first=True, bidirectional=True), 8, 2 * (10 + 20)),
            (nn.GRU(4, 10, batch_first=True), 8, 10 + 20),
            (nn.GRU(4, 9, batch_first=True), 4, 5 + 18),  # 4.5 rounded up
            (nn.GRU(4, 10, batch_first=True), 16, 20),
            (nn.RNN(4, 10, batch_first=True), 32, 40),
        ],
        ids=["lstm", "lstm-4", "lstm-16", "lstm-32", "lstm-bidirectional", "gru", "gru-4", "gru-16", "rnn-32"],
    )
    def test_states_of_recurrent_layers(self, layer: nn.RNNBase, bits: int, state: int) -> None:
        class Sequence(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x)[0]

        plan = plan_memory(deploy(trace(Sequence(), torch.zeros(1, 6, 4))), BitWidths(activation=bits))
        found = next(each.buffer for each in plan.placements if each.buffer.name.endswith(" state"))
        assert (found.size, found.first, found.last) == (state, 1, 1)
        width = layer.hidden_size * (2 if layer.bidirectional else 1)
        # Input 6 * 4, sequence 6 * width, and the state while it runs; the last states are not read.
        assert plan.live == (3 * bits, 3 * bits + math.ceil(6 * width * bits / 8) + state)

    def test_a_small_net(self) -> None:
        # Input 8 * 8 = 64; convolution 4 * 64 = 256, ReLU fused; pooled 64, flattened for nothing; 10 logits.
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1)
        )
        report = profile(net, torch.zeros(1, 1, 8, 8))
        assert report.memory.live == (64, 64 + 256, 256 + 64, 64 + 10, 10 + 10)
        assert report.memory.peak_step == 1  # the first of the two that need 320
        assert report.peak_layer == "0: Conv 3x3 + relu"
        assert report.ram_bytes == report.memory.peak == 320
        assert [layer.ram_bytes for layer in report.layers] == [320, 320, 74, 20]

    def test_unknown_operations_are_named(self) -> None:
        draft = Draft()
        x = draft.input("x", 8)
        a = draft.node("a", Unknown("aten.fft_fft.default", "it is not known"), x, size=8)
        plan = plan_memory(draft.graph(a))
        assert [(each.op, each.reason) for each in plan.unsupported] == [("aten.fft_fft.default", "it is not known")]
        assert plan.live == (8, 16)  # and what it reads and writes is counted nonetheless


class Program(nn.Module):
    """A random net: every instruction reads values that were made before, by number; all widths are even."""

    def __init__(self, width: int, instructions: Sequence[tuple[str, int, int, int]], keep: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.width, self.keep = width, keep
        self.instructions: list[tuple[str, int, int]] = []
        widths = [width]
        for index, (kind, one, other, size) in enumerate(instructions):
            one, other = one % len(widths), other % len(widths)  # noqa: PLW2901
            same = [each for each, found in enumerate(widths) if found == widths[one]]
            if kind == "add":
                other = same[other % len(same)]  # noqa: PLW2901
            if kind == "linear":
                self.layers[str(index)] = nn.Linear(widths[one], size)
            new = {"linear": size, "cat": widths[one] + widths[other]}.get(kind, widths[one])
            widths.append(new)
            self.instructions.append((kind, one, other))

    def forward(self, x: Tensor) -> Any:
        values = [x]
        for index, (kind, one, other) in enumerate(self.instructions):
            a, b = values[one], values[other]
            if kind == "linear":
                values.append(self.layers[str(index)](a))
            elif kind == "cat":
                values.append(torch.cat([a, b], 1))
            elif kind == "add":
                values.append(a + b)
            elif kind == "reshape":
                values.append(a.view(a.shape[0], 2, -1).flatten(1))
            else:
                values.append(torch.tanh(a))
        return [values[-1], *(values[each % len(values)] for each in self.keep)]


def programs(*kinds: str) -> st.SearchStrategy[Program]:
    number = st.integers(0, 30)
    instruction = st.tuples(st.sampled_from(kinds), number, number, st.sampled_from([2, 6, 6, 18, 40]))
    return st.builds(
        Program, st.sampled_from([6, 10]), st.lists(instruction, min_size=1, max_size=9), st.lists(number, max_size=2)
    )


def simulate(graph: Graph) -> list[int]:
    """Bytes of what is alive in each step, when nothing is written over its input: a dict, and reads still to come."""
    stored: dict[Value, Value] = {}

    def storage(value: Value) -> Value:
        return stored.get(value, value)

    for node in graph.nodes:
        if isinstance(node.op, ops.Reshape):
            stored[node.output] = storage(node.inputs[0])
    running = [node for node in graph.nodes if not isinstance(node.op, ops.Reshape)]
    forever = {storage(value) for value in graph.outputs}
    alive = {value: value.size for value in graph.inputs}
    found = [sum(alive.values())]
    for index, node in enumerate(running):
        later = forever | {storage(value) for each in running[index:] for value in each.inputs}
        alive = {value: size for value, size in alive.items() if value in later}
        alive |= {value: value.size for value in node.outputs}
        found.append(sum(alive.values()))
    return found


def execute(graph: Graph, plan: MemoryPlan) -> None:
    """Runs the schedule on a real arena, writing every value's name into its bytes, and checks them when it is read."""
    arena: list[str | None] = [None] * plan.peak
    own = {each.buffer.name: each for each in plan.placements}
    stored: dict[Value, Value] = {}
    at: dict[Value, Placement] = {}

    def write(value: Value, placement: Placement) -> None:
        at[value] = placement
        assert placement.buffer.size == value.size
        arena[placement.offset : placement.offset + value.size] = [value.name] * value.size

    def read(value: Value) -> None:
        placement = at[value]
        assert set(arena[placement.offset : placement.offset + value.size]) == {value.name}, f"{value.name} is lost"

    for value in graph.inputs:
        write(value, own[value.name])
    running = []
    for node in graph.nodes:
        if isinstance(node.op, ops.Reshape):
            stored[node.output] = stored.get(node.inputs[0], node.inputs[0])
        else:
            running.append(node)
    ends = {stored.get(value, value) for value in graph.outputs}
    for index, node in enumerate(running):
        inputs = [stored.get(value, value) for value in node.inputs]
        for value in inputs:
            read(value)
        if node.output.name in own:
            write(node.output, own[node.output.name])
            continue
        later = ends | {stored.get(value, value) for each in running[index + 1 :] for value in each.inputs}
        over = next(value for value in inputs if value not in later and value.size == node.output.size)
        write(node.output, at[over])
    for value in ends:
        read(value)


class TestRandomNets:
    @settings(max_examples=25)
    @given(program=programs("linear", "linear", "cat", "reshape"))
    def test_what_lives_is_what_a_simulation_finds(self, program: Program) -> None:
        graph = deploy(trace(program, torch.zeros(1, program.width)))
        plan = plan_memory(graph)
        check(plan.placements)
        assert list(plan.live) == simulate(graph)
        assert plan.lower_bound == max(simulate(graph)) <= plan.peak

    @settings(max_examples=40)
    @given(program=programs("linear", "cat", "add", "add", "tanh", "tanh", "reshape"))
    def test_no_value_is_overwritten_before_it_was_read(self, program: Program) -> None:
        graph = deploy(trace(program, torch.zeros(1, program.width)))
        plan = plan_memory(graph)
        check(plan.placements)
        execute(graph, plan)
        simulated = simulate(graph)
        assert all(found <= bound for found, bound in zip(plan.live, simulated, strict=True))
        assert needed([each.buffer for each in plan.placements]) == plan.lower_bound <= plan.peak
