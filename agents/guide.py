"""The network as the guide writes it down: a batch of windows in, logits and values out."""

from torch import Tensor

from agents.networks import ActorCritic, Widths
from engine.settings_agent import NetworkSettings


class TradingLSTMActorCritic(ActorCritic):
    """The guide's form: whole windows in, logits and value of the last bar out, no book part.

    Shapes: obs_seq (batch, sequence, input_size); logits (batch, action_dim), value (batch, 1) and
    the (h, c) to hand in with the next window; `hidden_state=None` starts from zero.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        lstm_layers: int,
        fc_hidden_size: int,
        action_dim: int,
    ) -> None:
        network = NetworkSettings(
            hidden_size=hidden_size, lstm_layers=lstm_layers, heads=(fc_hidden_size,)
        )
        super().__init__(Widths(market=input_size, book=0, head=action_dim), network)

    def forward(
        self, obs_seq: Tensor, hidden_state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Run a batch of windows; see the class."""
        batch, trunk = obs_seq.shape[0], self.policy_trunk
        memory = self.start(batch) if hidden_state is None else trunk.pack(hidden_state)
        out, memory = self.trunk(obs_seq.transpose(0, 1), memory)
        logits, value = self.heads(out[-1], obs_seq.new_zeros((batch, 0)))
        return logits, value[:, None], trunk.unpack(memory)
