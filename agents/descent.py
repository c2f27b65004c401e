"""One optimiser: clipped gradient steps, only with finite numbers, and everything needed to resume."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import TradingError


class NotFinite(TradingError):
    """A loss or its gradient is NaN or infinite; no weight was changed."""


class Descent:
    """Steps some parameters down a loss.

    Weight decay is decoupled from the gradient for both kinds.
    Source: Loshchilov and Hutter, arXiv:1711.05101. RMSprop's constants: Mnih et al., arXiv:1602.01783.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        learning_rate: float,
        max_grad_norm: float,
        weight_decay: float = 0.0,
        kind: str = "adam",
    ) -> None:
        self.parameters = list(parameters)
        self.max_grad_norm = max_grad_norm
        self.weight_decay = weight_decay
        self.loss = 0.0  # of the step that was begun last
        self.optimiser: torch.optim.Optimizer
        if kind == "adam":
            self.optimiser = torch.optim.AdamW(
                self.parameters, learning_rate, eps=1e-5, weight_decay=weight_decay, fused=True
            )
        else:
            self.optimiser = torch.optim.RMSprop(self.parameters, learning_rate, 0.99, eps=1e-5)

    def step(self, loss: Tensor) -> float:
        """Change the parameters once; return the gradient's norm before it was clipped.

        Raises: NotFinite, with the parameters untouched, when loss or gradient is not finite.
        """
        self.begin()
        self.add(loss)
        return self.take()

    def begin(self) -> None:
        """Forget every gradient: a step begins, of losses that are added up."""
        self.optimiser.zero_grad(set_to_none=True)
        self.loss = 0.0

    def add(self, loss: Tensor) -> None:
        """Add a loss and its gradient; what the loss was made from may be forgotten afterwards."""
        loss.backward()  # type: ignore[no-untyped-call]
        self.loss += loss.item()

    def take(self) -> float:
        """Take the step that began; see `step`."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm).item()
        if not (math.isfinite(self.loss) and math.isfinite(norm)):
            raise NotFinite(
                f"the loss is {self.loss} and its gradient {norm}, expected finite numbers; "
                "training stopped before the weights were changed, earlier checkpoints are kept: "
                "lower train.learning_rate, or look at rewards and features"
            )
        if self.weight_decay and isinstance(self.optimiser, torch.optim.RMSprop):
            with torch.no_grad():
                for parameter in self.parameters:
                    parameter.mul_(1.0 - self.optimiser.param_groups[0]["lr"] * self.weight_decay)
        self.optimiser.step()
        return norm

    def go_on_with(self, learning_rate: float) -> None:
        """Take the next steps with another learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate

    def state(self) -> dict[str, Any]:
        """Return the optimiser's numbers, for `restore`."""
        moments = self.optimiser.state_dict()["state"]
        return {"moments": {str(at): dict(found) for at, found in moments.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the numbers of `state`."""
        tree = self.optimiser.state_dict()
        tree["state"] = {
            int(at): {name: torch.from_numpy(np.array(x)) for name, x in found.items()}
            for at, found in state["moments"].items()
        }
        self.optimiser.load_state_dict(tree)
