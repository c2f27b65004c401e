"""Two heads in one product: the same numbers and gradients as each alone, and ahead of their book part."""

import pytest
import torch
from torch import Tensor, nn

from agents import onednn
from agents.heads import Ahead, together
from agents.layers import head
from agents.networks import ActorCritic, Widths
from agents.onednn import affine
from engine.settings_agent import NetworkSettings

SHAPES = {
    "one layer": {"heads": (8,)},
    "two layers": {"heads": (8, 5)},
    "no hidden layer": {"heads": ()},
    "leaky": {"heads": (8,), "activation": "leaky_relu"},
    "residual": {"heads": (8, 8), "head_residual": True},
}


def heads_of(name: str, kind: torch.dtype = torch.float32) -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(3)
    settings = NetworkSettings.model_validate(SHAPES[name])
    made = head(6, 3, 1.0, settings), head(6, 1, 1.0, settings)
    for layer in (*made[0].modules(), *made[1].modules()):
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.normal_(layer.bias)
    return made[0].to(kind), made[1].to(kind)


def gradients(parts: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    torch.manual_seed(4)
    total = sum((part * torch.randn_like(part)).sum() for part in parts)
    return list(torch.autograd.grad(total, of))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_heads_together_give_numbers_and_gradients_of_each_alone(name: str, kind: torch.dtype):
    actor, critic = heads_of(name, kind)
    seen = torch.randn(7, 4, 6, dtype=kind, requires_grad=True)
    of = [seen, *actor.parameters(), *critic.parameters()]
    both, alone = list(together(actor, critic, seen)), [actor(seen), critic(seen)]
    for found, expected in zip(both, alone, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for found, expected in zip(gradients(both, of), gradients(alone, of), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_heads_of_unlike_first_layers_are_left_apart():
    actor, critic = heads_of("one layer")[0], heads_of("residual")[1]
    seen = torch.randn(5, 6)
    found = together(actor, critic, seen)
    assert torch.equal(found[0], actor(seen))
    assert torch.equal(found[1], critic(seen))


@pytest.mark.parametrize("book", [0, 2])
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_head_over_known_views_is_the_head_bar_by_bar_and_at_once(name: str, book: int):
    actor, _ = heads_of(name)
    views, seen = torch.randn(7, 4, 6 - book), torch.randn(7, 4, book)
    ahead = Ahead(actor, views)
    expected = actor(torch.cat([views, seen], -1))
    torch.testing.assert_close(ahead.all(seen), expected, rtol=1e-5, atol=1e-5)
    for step in range(7):
        found = ahead.at(step, seen[step])
        torch.testing.assert_close(found, expected[step], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"dropout_after": 0.5}, {"critic_gradient": "stop"}])
def test_heads_that_see_different_things_or_train_alone_stay_apart(options: dict[str, object]):
    torch.manual_seed(5)
    settings = NetworkSettings.model_validate({"hidden_size": 8, "heads": (8,), **options})
    net = ActorCritic(Widths(3, 2, 3), settings)
    out = torch.randn(5, net.out_width, requires_grad=True)
    book = torch.randn(5, 2)
    _, value = net.heads(out, book)
    gradient = torch.autograd.grad(value.sum() + 0.0 * out.sum(), out)[0]
    to_critic = gradient[:, -net.view_width :]
    assert bool(to_critic.any()) == ("dropout_after" in options)


def test_weights_of_two_heads_stay_apart_in_a_checkpoint():
    net = ActorCritic(Widths(3, 2, 3), NetworkSettings(hidden_size=8, heads=(8,)))
    names = {name for name in net.state_dict() if name.startswith(("actor", "critic"))}
    each = {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert names == {f"{head}.{part}" for head in ("actor", "critic") for part in each}


@pytest.mark.parametrize("rectified", [False, True])
def test_affine_map_has_the_gradients_of_its_definition(rectified: bool):
    # x W^T + b: to x it is g W, to W it is g^T x, to b the sum of g; g is 0 where the map was cut off
    torch.manual_seed(6)
    given = [torch.randn(9, 5), torch.randn(4, 5), torch.randn(4)]
    x, weight, bias = (part.clone().requires_grad_() for part in given)
    y = affine(x, weight, bias, rectified)
    full = given[0] @ given[1].T + given[2]
    torch.testing.assert_close(y, full.relu() if rectified else full)
    g = torch.randn(9, 4)
    y.backward(g)
    g = torch.where(full > 0, g, 0.0) if rectified else g
    expected = (g @ given[1], g.T @ given[0], g.sum(0))
    for part, gradient in zip((x, weight, bias), expected, strict=True):
        torch.testing.assert_close(part.grad, gradient, rtol=1e-5, atol=1e-5)


def test_affine_map_without_the_fast_product_is_the_same(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(7)
    given = torch.randn(9, 5), torch.randn(4, 5), torch.randn(4)
    fast = affine(*given, True)
    monkeypatch.setattr(onednn, "_FAST", False)
    assert not onednn.is_fast(given[0])
    torch.testing.assert_close(affine(*given, True), fast, rtol=1e-6, atol=1e-6)


def test_gradient_through_both_heads_agrees_with_finite_differences():
    actor, critic = heads_of("two layers", torch.float64)
    seen = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: together(actor, critic, x), (seen,))
