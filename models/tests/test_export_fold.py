"""What PyTorch asks of shapes at run time is folded where the batch alone is open: flowturbo runs it for 1, 2, 3
images."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
import torch.nn.functional as F
from conftest import run_network
from export import ExportError
from export.graph import write_graph
from export.signature import Signature
from torch import Tensor, nn

SHAPE_OPS = {"Shape", "Size", "Range", "ConstantOfShape"}


class Network(nn.Module):
    """A predictor that does something to what a convolution gives."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.labels = nn.Conv2d(4, 4, 3, padding=1), nn.Embedding(4, 4)

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        c = self.labels(y) * t[:, None]
        return self.between(self.conv(x), t, y) + c[:, :, None, None]

    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError


class ResizedToASize(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(x, 2), size=x.shape[2:])


class ResizedByOddFactors(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        small = F.interpolate(x, size=(5, 3), mode="bilinear", align_corners=False)
        return F.interpolate(small, size=x.shape[2:], mode="bicubic")


class Deviation(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x / x.std(dim=(1, 2, 3), keepdim=True)


class DeviationOfTheBatch(Network):
    """The number of images decides a factor, so they are counted at run time."""

    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x / x.std() + x.sum() / x.numel()


class TokenForEachImage(Network):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))

    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        tokens = torch.softmax(tokens @ tokens.transpose(1, 2), dim=-1) @ tokens
        return tokens[:, 1:].transpose(1, 2).reshape(x.shape)


class PositionsOfEachImage(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        n, _, height, width = x.shape
        rows = torch.arange(height, device=x.device).float()[:, None] / height
        columns = torch.arange(width, device=x.device).float()[None] / width
        grid = torch.stack([rows.expand(height, width), columns.expand(height, width)])
        return torch.cat([x[:, :2], grid[None].expand(n, -1, -1, -1)], dim=1)


class ZerosAndOnesOfTheBatch(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        n, _, height, width = x.shape
        times = t * torch.ones(n, dtype=t.dtype, device=t.device)
        padded = torch.cat([x, torch.zeros(n, 2, height, width)], dim=1)
        return padded[:, 1:5] * times.view(n, 1, 1, 1)


class LabelsOfTheBatch(Network):
    """Copies for each image of whole numbers."""

    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        first = torch.full((x.shape[0],), 2, dtype=torch.int64, device=x.device)
        return x * self.labels(first)[:, :, None, None]


class BatchFoldedIntoRows(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        n, c, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(n * height, width, c)
        rows = torch.softmax(rows @ rows.transpose(1, 2), dim=-1) @ rows
        return rows.view(n, height, width, c).permute(0, 3, 1, 2).reshape(x.size(0), -1).view(n, c, height, width)


class ImageNumbers(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x * torch.arange(x.shape[0], device=x.device)[:, None, None, None]


class BranchesOnNumbers(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class NoiseOfItsOwn(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class WhatIsAboveZero(Network):
    def between(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return x + x[x > 0].mean()


FOLDED = [
    ResizedToASize,
    ResizedByOddFactors,
    Deviation,
    DeviationOfTheBatch,
    TokenForEachImage,
    PositionsOfEachImage,
    ZerosAndOnesOfTheBatch,
    LabelsOfTheBatch,
    BatchFoldedIntoRows,
]


@pytest.mark.parametrize("kind", FOLDED, ids=lambda kind: kind.__name__)
def test_flowturbo_runs_it_for_one_two_and_three_images(kind: type[Network], program: Path, tmp_path: Path) -> None:
    error = run_network(kind().eval(), program, tmp_path, batches=(1, 2, 3))
    assert error < 1e-5
    graph = onnx.load(tmp_path / "predictor.onnx").graph
    assert not {node.op_type for node in graph.node} & SHAPE_OPS


INPUTS = {"x": ((4, 8, 8), torch.float32), "t": ((), torch.float32), "y": ((), torch.int64)}
SIGNATURE = Signature(INPUTS, "velocity", 4)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (ImageNumbers, r"Mul \(.*\) depends on how many images there are"),
        (WhatIsAboveZero, r"the graph still has a .*(NonZero|Compress)"),
        (NoiseOfItsOwn, r"draws noise of its own: Random.* \(.*\)"),
        (BranchesOnNumbers, "PyTorch cannot export BranchesOnNumbers: "),
    ],
)
def test_what_needs_shapes_at_run_time_is_refused_by_name(kind: type[Network], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message) as caught:
        write_graph(kind().eval(), SIGNATURE, tmp_path / "predictor.onnx")
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


class AnySize(nn.Module):
    """A decoder of which height and width are open, too."""

    any_size = True

    def __init__(self):
        super().__init__()
        self.conv, self.offset = nn.Conv2d(4, 3, 1), nn.Parameter(torch.randn(1, 3, 1, 1))

    def forward(self, latent: Tensor) -> Tensor:
        n, _, height, width = latent.shape
        x = self.conv(latent) + self.offset.expand(n, -1, height, width)
        x = x / x.std(dim=(1, 2, 3), keepdim=True) if self.deviates else x
        return F.interpolate(x, size=(2 * height, 2 * width))

    deviates = False


def test_open_heights_and_widths_fold_where_they_do_not_matter(tmp_path: Path) -> None:
    signature = Signature({"latent": ((4, 8, 6), torch.float32)}, "image", 3, any_size=True)
    write_graph(network := AnySize().eval(), signature, tmp_path / "decoder.onnx")
    from export.verify import open_session

    for shape in ((1, 4, 8, 6), (3, 4, 5, 10)):
        latent = torch.randn(shape)
        with torch.no_grad():
            want = network(latent)
        got = open_session(tmp_path / "decoder.onnx").run(None, {"latent": latent.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(got), want, rtol=1e-5, atol=1e-5)
    network.deviates = True
    with pytest.raises(ExportError, match="how large they are"):
        write_graph(network, signature, tmp_path / "other.onnx")
