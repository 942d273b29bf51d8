"""``.pt2`` files: what torch.export.save wrote is the graph that the module is traced to, and nothing in it runs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mcubench.cost import profile_graph
from mcubench.errors import CorruptDataError, UserError
from mcubench.graph import Graph, interpret, trace
from mcubench.readers.exported import read_exported
from tests import reference_nets
from tests.graph.compare import Forward, distance, randomised
from tests.readers.damage import damaged

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ResNet8": (reference_nets.ResNet8, (3, 32, 32)),
    "KeywordDSCNN": (reference_nets.KeywordDSCNN, (1, 49, 10)),
    "TinyViT": (reference_nets.TinyViT, (3, 32, 32)),
    "LSTMClassifier": (reference_nets.LSTMClassifier, (9, 128)),
    "TCN": (reference_nets.TCN, (9, 128)),
    "in place": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Dropout(inplace=True)), (2, 9, 9)),
    "parts": (lambda: Forward(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1) + x.mean((2, 3), keepdim=True)), (4, 5, 5)),
    "sizes": (lambda: Forward(lambda x: x.view(x.shape[0], x.shape[1] * x.shape[2], -1).subtract(1)), (4, 5, 6)),
}


def exported(module: nn.Module, x: Tensor, batch: bool = True) -> bytes:
    """A file, whose batch may have any size or has the example's."""
    sizes = ({0: torch.export.Dim("samples", min=1, max=4096)},) if batch else None
    file = io.BytesIO()
    given = (torch.cat([x, x]),) if batch else (x,)
    wrapped = module if not isinstance(module, Forward) else _Named(module)
    torch.export.save(torch.export.export(wrapped, given, dynamic_shapes=sizes), file)
    return file.getvalue()


class _Named(nn.Module):
    """With the argument that torch.export is told of."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Any:
        return self.inner(x)


@pytest.mark.parametrize("name", NETS)
def test_values_and_costs_are_the_modules(name: str) -> None:
    make, shape = NETS[name]
    torch.manual_seed(0)
    module, x = randomised(make()), torch.randn(3, *shape)
    graph = read_exported(exported(module, x[:1]))
    assert not graph.unknown()
    assert graph.notes == ()
    with torch.no_grad():
        assert distance(list(interpret(graph, x)), [module(x)]) <= 1e-5
    found, wanted = (profile_graph(each, "").as_dict() for each in (graph, trace(module, x[:1])))
    assert {key: found[key] for key in ("macs", "params", "flash_bytes")} == {
        key: wanted[key] for key in ("macs", "params", "flash_bytes")
    }


def test_layers_have_the_modules_paths() -> None:
    module, x = reference_nets.ResNet8().eval(), torch.randn(1, 3, 32, 32)
    paths = {node.path for node in trace(module, x).nodes}
    assert {node.path for node in read_exported(exported(module, x)).nodes} == paths


def test_a_file_of_one_sample() -> None:
    """Its class token is expanded to a batch of one, which stands in the file: it does not fit several samples."""
    module, x = reference_nets.TinyViT().eval(), torch.randn(1, 3, 32, 32)
    graph = read_exported(exported(module, x, batch=False))
    assert any("a single sample" in note for note in graph.notes)
    assert profile_graph(graph, "").macs == profile_graph(trace(module, x), "").macs


@pytest.fixture(scope="module")
def file() -> bytes:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    return exported(net.eval(), torch.randn(1, 2, 8, 8))


def rewritten(file: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The archive with other members."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for each in old.infolist():
            new.writestr(each.filename, change(each.filename, old.read(each)))
    return out.getvalue()


def in_json(ending: str, change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith(ending):
            return content
        found = json.loads(content)
        change(found)
        return json.dumps(found).encode()

    return changed


def pickled(found: Any) -> None:
    next(iter(found["config"].values()))["use_pickle"] = True


def beyond(found: Any) -> None:
    next(iter(found["config"].values()))["tensor_meta"]["strides"][0]["as_int"] = 10**9


def other_target(name: str) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        found["graph_module"]["graph"]["nodes"][0]["target"] = name

    return change


REFUSED: dict[str, tuple[Callable[[str, bytes], bytes], str]] = {
    "pickled weights": (in_json("model_weights_config.json", pickled), "is pickled, which can run code"),
    "a weight beyond its bytes": (in_json("model_weights_config.json", beyond), "reaches beyond its"),
    "a function of Python's": (in_json("model.json", other_target("os.system")), r"only operators of torch's own"),
    "an operator that there is not": (
        in_json("model.json", other_target("torch.ops.aten.conv9d.default")),
        "this version of torch does not have it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named(file: bytes, name: str) -> None:
    change, reason = REFUSED[name]
    with pytest.raises(UserError, match=reason):
        read_exported(rewritten(file, change))


def test_what_it_was_rewritten_with_is_the_same(file: bytes) -> None:
    assert isinstance(read_exported(rewritten(file, lambda _name, content: content)), Graph)


def test_it_is_no_archive() -> None:
    with pytest.raises(CorruptDataError, match="truncated or altered"):
        read_exported(b"PK\x03\x04 and no more")


def test_damaged_files_are_read_or_refused(file: bytes) -> None:
    refused = damaged(file, read_exported)
    assert refused > 100
