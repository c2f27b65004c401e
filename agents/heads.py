"""Both heads together: their first layers are one product, and what the trunk alone decides is done ahead.

A head is what `agents.layers.head` returns. Its weights stay its own: they are joined for a product and
nothing else, so a checkpoint, an optimiser and an exported step know two heads.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from agents.onednn import affine


def together(
    actor: nn.Sequential, critic: nn.Sequential, seen: Tensor, precision: str = "float32"
) -> tuple[Tensor, Tensor]:
    """Return what two heads make of the same thing seen, with gradients.

    Shapes: seen (..., I); policy (..., A), value (..., 1). `precision` is that of the first product
    alone: what is made of it is float32.
    """
    heads = (actor, critic)
    first = [layer for head in heads if isinstance(layer := head[0], nn.Linear)]
    if len(first) < len(heads):
        seen = seen.to(next(actor.parameters()).dtype)
        return actor(seen), critic(seen)
    rectified = all(len(head) > 1 and type(head[1]) is nn.ReLU for head in heads)
    weight = torch.cat([layer.weight for layer in first])
    bias = torch.cat([layer.bias for layer in first])
    joined = affine(seen.flatten(0, -2), weight, bias, rectified, precision)
    parts = torch.split(joined, [layer.out_features for layer in first], -1)
    done = 2 if rectified else 1
    left, right = (_rest(head, done, part) for head, part in zip(heads, parts, strict=True))
    ahead = seen.shape[:-1]
    return left.reshape(*ahead, -1), right.reshape(*ahead, -1)


class Ahead:
    """One head over views that are known before the book part is; without gradients.

    The views' share of its first layer is computed for all bars at once.
    """

    def __init__(self, head: nn.Sequential, views: Tensor, precision: str = "float32") -> None:
        """Shapes: views (S, R, W) of all bars."""
        self.head = head
        layer = head[0]
        self.layer = layer if isinstance(layer, nn.Linear) else None
        self.views = views
        if self.layer is not None:
            width = views.shape[-1]
            own = self.layer.weight[:, :width].contiguous()
            share = affine(views.flatten(0, 1), own, self.layer.bias, False, precision)
            self.views = share.reshape(*views.shape[:2], -1)
            self.of_book = self.layer.weight[:, width:].t()

    def at(self, step: int, book: Tensor) -> Tensor:
        """Return the head (R, A) at one bar. Shapes: book (R, P)."""
        return self._over(self.views[step], book)

    def all(self, book: Tensor) -> Tensor:
        """Return the head (S, R, A) at all bars. Shapes: book (S, R, P)."""
        return self._over(self.views.flatten(0, 1), book.flatten(0, 1)).reshape(*book.shape[:2], -1)

    def _over(self, views: Tensor, book: Tensor) -> Tensor:
        if self.layer is None:
            return _rest(self.head, 0, torch.cat([views, book], -1))
        first = torch.addmm(views, book, self.of_book) if book.shape[-1] else views
        return _rest(self.head, 1, first)


def _rest(head: Iterable[nn.Module], done: int, x: Tensor) -> Tensor:
    # What a head makes of x after its first `done` layers.
    for layer in list(head)[done:]:
        x = layer(x)
    return x
