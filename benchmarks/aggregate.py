"""Each aggregation forwards and backwards, against its plainest statement, and its share of a training step.

Plain: the equation written out, with every product or difference that it names as a tensor of its own.
Equal in both: weights, map, batch, threads, and the result (compared each time).
A training step: trunk and aggregation as the method's authors combine them, their frozen stages frozen,
forwards and backwards, without loss and optimiser; the trunk's weights are random.
Each measurement is a process of its own, so that its memory is.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch
from common import child, peak_mb, resident_mb, save
from torch import Tensor, nn
from torch.nn import functional as F

from landmark_nb.config import from_flat
from landmark_nb.models.aggregate import make_aggregation
from landmark_nb.models.embed import Embedder, ModelConfig

BATCH, REPEATS = 2, 5
METHODS = dict(  # trunk, where it is cut, frozen stages, pixels, the aggregation's own settings
    cosplace=("resnet50", "", 3, 320, {}),
    netvlad=("vgg16", "features.28", 4, 320, {}),
    convap=("resnet50", "", 3, 320, {}),
    mixvpr=("resnet50", "layer3", 3, 320, {}),
    salad=("vit_base_patch14_dinov2", "", 8, 322, {}),
    boq=("resnet50", "layer3", 3, 320, {}),
)


def settings_of(name: str) -> tuple[ModelConfig, int]:
    "A method's settings, without weights, and the pixels of its images."
    trunk, cut, freeze, pixels, own = METHODS[name]
    cfg = ModelConfig(trunk, "none", 0, freeze, input_size=pixels, cut=cut)
    return from_flat(cfg, dict(aggregation=name, **own)), pixels


# The plainest statements


def plain_cosplace(m: nn.Module, x: Tensor, token) -> Tensor:
    "Power, mean, root."
    x = x / x.norm(dim=1, keepdim=True)
    return x.clamp(min=1e-6).pow(m.p).flatten(2).mean(2).pow(1 / m.p)


def plain_netvlad(m: nn.Module, x: Tensor, token) -> Tensor:
    "Every difference between a place and a centre, [b, clusters, channels, places]."
    x = x / x.norm(dim=1, keepdim=True)
    shares = m.conv(x).softmax(1).flatten(2)
    differences = x.flatten(2)[:, None] - m.centroids[None, :, :, None]
    v = (shares[:, :, None] * differences).sum(3)
    return F.normalize(F.normalize(v, dim=2).flatten(1), dim=1)


def plain_convap(m: nn.Module, x: Tensor, token) -> Tensor:
    "The mean of each quarter."
    x, h, w = m.channel_pool(x), x.shape[2] // 2, x.shape[3] // 2
    cells = [x[:, :, i : i + h, j : j + w].mean((2, 3)) for i in (0, h) for j in (0, w)]
    return F.normalize(torch.stack(cells, 2).flatten(1), dim=1)


def plain_mixvpr(m: nn.Module, x: Tensor, token) -> Tensor:
    "A picture at a time."
    rows = []
    for image in x.flatten(2):
        image = m.mix(image)
        rows.append(m.row_proj(m.channel_proj(image.T).T).flatten())
    return F.normalize(torch.stack(rows), dim=1)


def plain_salad(m: nn.Module, x: Tensor, token: Tensor) -> Tensor:
    "Every product of a number and a share, [b, numbers, clusters, places]."
    shares = m.shares(x)[:, :-1].flatten(2)
    products = m.cluster_features(x).flatten(2)[:, :, None] * shares[:, None]
    clusters = F.normalize(products.sum(3), dim=1).flatten(1)
    return F.normalize(torch.cat([F.normalize(m.token_features(token), dim=1), clusters], 1), dim=1)


def attend(m: nn.MultiheadAttention, q: Tensor, x: Tensor) -> Tensor:
    "Attention with its weights as a tensor of their own."
    (wq, wk, wv), (bq, bk, bv) = m.in_proj_weight.chunk(3), m.in_proj_bias.chunk(3)
    split = lambda y: y.unflatten(2, (m.num_heads, -1)).transpose(1, 2)
    q, k, v = split(F.linear(q, wq, bq)), split(F.linear(x, wk, bk)), split(F.linear(x, wv, bv))
    weights = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(3)
    return m.out_proj((weights @ v).transpose(1, 2).flatten(2))


def plain_boq(m: nn.Module, x: Tensor, token) -> Tensor:
    "Encoder and queries with attention written out."
    x, answers = m.norm_input(m.proj_c(x).flatten(2).transpose(1, 2)), []
    for block in m.boqs:
        e, q = block.encoder, block.queries.expand(len(x), -1, -1)
        x = e.norm1(x + attend(e.self_attn, x, x))
        x = e.norm2(x + e.linear2(e.linear1(x).relu()))
        q = block.norm_q(q + attend(block.self_attn, q, q))
        answers.append(block.norm_out(attend(block.cross_attn, q, x)))
    return F.normalize(m.fc(torch.cat(answers, 1).transpose(1, 2)).flatten(1), dim=1)


PLAIN: dict[str, Callable] = {name: globals()[f"plain_{name}"] for name in METHODS}


# Measuring


def milliseconds(step: Callable[[], None], repeats: int) -> float:
    "The median of some steps, after one that is not counted."
    step()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


def without_trunk(name: str) -> tuple[nn.Module, Tensor, Tensor | None]:
    "An aggregation, a map of drawn numbers such as its trunk gives, and a token; the trunk has no memory."
    cfg, pixels = settings_of(name)
    with torch.device("meta"):
        model = Embedder(cfg)
        features, token = model.features(torch.zeros(1, 3, pixels, pixels))
    torch.manual_seed(0)
    aggregation = make_aggregation(model.cfg.aggregation, features.shape[1]).eval()
    x = torch.rand(BATCH, *features.shape[1:], requires_grad=True)
    return aggregation, x, None if token is None else torch.rand(BATCH, token.shape[1])


def alone(name: str, plain: bool) -> dict:
    "Milliseconds and memory of an aggregation, forwards and backwards."
    aggregation, x, token = without_trunk(name)
    before = resident_mb()
    how = (lambda: PLAIN[name](aggregation, x, token)) if plain else (lambda: aggregation(x, token))

    def step():
        aggregation.zero_grad()
        how().sum().backward()

    ms, mb = milliseconds(step, REPEATS), peak_mb() - before
    with torch.no_grad():
        apart = (how() - aggregation(x, token)).abs().max()
    assert apart < 1e-4, f"{name}: the plain statement is another one, by {apart}"
    sizes = dict(numbers=aggregation.out_dim, weights=sum(p.numel() for p in aggregation.parameters()))
    return dict(ms=round(ms, 1), mb=round(mb), map=list(x.shape[1:])) | sizes


def whole(name: str) -> dict:
    "Milliseconds of trunk and aggregation, forwards and backwards."
    cfg, pixels = settings_of(name)
    model = Embedder(cfg)
    images = torch.rand(BATCH, 3, pixels, pixels)

    def step():
        model.zero_grad()
        model.train()(images).sum().backward()

    return dict(ms=round(milliseconds(step, 1), 1))


def row(name: str) -> dict:
    "What is kept of a method."
    ours, plain, step = (child(__file__, name, mode) for mode in ("ours", "plain", "whole"))
    row = dict(trunk=METHODS[name][0]) | {key: ours[key] for key in ("map", "numbers", "weights")}
    row |= dict(ms=ours["ms"], plain_ms=plain["ms"], ratio=round(plain["ms"] / ours["ms"], 2))
    row |= dict(more_mb=ours["mb"], plain_more_mb=plain["mb"], step_ms=step["ms"])
    row |= dict(share=round(ours["ms"] / step["ms"], 3))
    print(name, row, file=sys.stderr, flush=True)
    return row


def main():
    "Measure all methods, or one of them in one mode."
    if len(sys.argv) > 1:
        name, mode = sys.argv[1:]
        print(json.dumps(whole(name) if mode == "whole" else alone(name, mode == "plain")))
        return
    text = f"milliseconds a batch of {BATCH}, forwards and backwards, {torch.get_num_threads()} threads"
    save("aggregate", unit=text, rows={name: row(name) for name in METHODS})


if __name__ == "__main__":
    main()
