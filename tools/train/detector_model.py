"""The detector's network: a small residual backbone with a grid of stride 8 and one of stride 16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

SIDE, STRIDES, CLASSES = 160, (8, 16), 10


def conv(inputs: int, outputs: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    """A convolution with batch normalisation and ReLU."""
    plain = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(plain, nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    """Two 3x3 convolutions around which the input passes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Head(nn.Module):
    """Objectness, classes and distances of each cell of one grid."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.mixed = conv(width, 64)
        self.answer = nn.Conv2d(64, 5 + CLASSES, 1)
        nn.init.constant_(self.answer.bias[4:], -4.0)
        self.stride, self.cells = stride, SIDE // stride
        places = (torch.arange(self.cells, dtype=torch.float32) + 0.5) * stride
        across, down = places.repeat(self.cells), places.repeat_interleave(self.cells)
        self.register_buffer("centres", torch.stack([across, down], -1)[None], persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f32 [batch, cells, 4] corners in pixels, f32 [batch, cells, 1 + classes] logits."""
        answer = self.answer(self.mixed(x)).float().flatten(2).transpose(1, 2)
        distances = F.softplus(answer[..., :4]) * (2.0 * self.stride)
        corners = torch.cat([self.centres - distances[..., :2], self.centres + distances[..., 2:]], -1)
        return corners, answer[..., 4:]


class Detector(nn.Module):
    """f32 [batch, 3, SIDE, SIDE] in 0..1 to corners and logits of all cells, the finer grid first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 16, 2), conv(16, 32, 2), Block(32), conv(32, 64, 2), Block(64))
        self.deep = nn.Sequential(conv(64, 128, 2), Block(128), Block(128))
        self.down = conv(128, 64, 1, 1)
        self.fine, self.coarse = Head(128, STRIDES[0]), Head(128, STRIDES[1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        near = self.stem(x)
        far = self.deep(near)
        raised = F.interpolate(self.down(far), scale_factor=2.0, mode="nearest")
        parts = self.fine(torch.cat([near, raised], 1)), self.coarse(far)
        return torch.cat([part[0] for part in parts], 1), torch.cat([part[1] for part in parts], 1)


class Decoded(nn.Module):
    """The detector with the output of the YOLOv5 family."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> Tensor:
        corners, logits = self.detector(x)
        low, high = corners[..., :2], corners[..., 2:]
        return torch.cat([(low + high) * 0.5, high - low, torch.sigmoid(logits)], -1)
