"""What happens to one bar's inputs before the LSTM: groups of features, and a linear layer.

Each group of features goes through a small network of its own; everything else passes as it is; all
of it is joined, and perhaps mixed by one linear layer. Nothing here looks at another bar.
"""

import torch
from torch import Tensor, nn

from agents.layers import layered, linear
from engine.settings_agent import NetworkSettings, places_of


class Encoder(nn.Module):
    """Inputs of one bar (..., I) to what the LSTM reads (..., width).

    `names` of the first `market` inputs; the book part, where the LSTM sees it, comes after them.
    Raises: SettingsError for a group with a feature that is not there.
    """

    def __init__(
        self, inputs: int, market: int, names: tuple[str, ...], network: NetworkSettings
    ) -> None:
        super().__init__()
        places = places_of(network.groups, names, market)
        taken = {place for group in places for place in group}
        rest = tuple(place for place in range(inputs) if place not in taken)
        self.groups = nn.ModuleList()
        self.width = len(rest)
        for number, (group, found) in enumerate(zip(network.groups, places, strict=True)):
            self.groups.append(nn.Sequential(*layered(len(found), group.widths, network)))
            self._remember(str(number), found)
            self.width += group.widths[-1]
        self._remember("rest", rest)
        self.linear = linear(self.width, network.encoder, 1.0, network) if network.encoder else None
        self.width = network.encoder or self.width

    def forward(self, rows: Tensor) -> Tensor:
        """Encode any number of bars."""
        if len(self.groups):
            parts = [
                group(self._take(rows, str(number))) for number, group in enumerate(self.groups)
            ]
            rows = torch.cat([*parts, self._take(rows, "rest")], -1)
        return rows if self.linear is None else self.linear(rows)

    def _remember(self, name: str, places: tuple[int, ...]) -> None:
        # Moves with the weights to another device, and is not one of them.
        found = torch.tensor(places, dtype=torch.int64)
        self.register_buffer(f"places_{name}", found, persistent=False)

    def _take(self, rows: Tensor, name: str) -> Tensor:
        return rows.index_select(-1, self.get_buffer(f"places_{name}"))
