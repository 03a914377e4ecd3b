"Files by their published names and shapes, against the methods written anew with torchvision and torch."

import math

import numpy as np
import pytest
import torch
import torchvision
from scipy.io import savemat
from torch import nn
from torch.nn import functional as F

from landmark_nb.models.embed import Embedder, ModelConfig, load_model, save_model
from landmark_nb.models.public import load_public, prepared
from landmark_nb.models.published import PUBLISHED, read_published
from landmark_nb.table import find_methods, public_method

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def photograph(size):
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def normal(x):
    return (x - MEAN[:, None, None]) / STD[:, None, None]


def unit(x):
    return F.normalize(x, dim=1)


def drawn(module):
    "A module whose statistics are drawn, too, so that batch norms do something."
    for name, buffer in module.named_buffers():
        if "running_mean" in name:
            buffer.normal_(0, 0.1)
        if "running_var" in name:
            buffer.uniform_(0.5, 1.5)
    return module.eval()


def prefixed(module, before):
    return {f"{before}{name}": value for name, value in module.state_dict().items()}


def described(name, file, x, **how):
    with torch.no_grad():
        return load_public(name, str(file), **how)(x)


def resnet(kind="resnet50", last="layer4"):
    "torchvision's up to a stage, as its parts in order."
    net = drawn(getattr(torchvision.models, kind)())
    parts = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4]
    return nn.Sequential(*parts[: 8 if last == "layer4" else 7])


def named_resnet(net, before):
    "The same parts as an attribute `model` of torchvision's has them."
    names = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    return {k: v for name, part in zip(names, net) for k, v in prefixed(part, f"{before}{name}.").items()}


# CosPlace and EigenPlaces


@pytest.mark.parametrize(
    "name, kind, channels", [("cosplace", "resnet50", 2048), ("eigenplaces", "resnet18", 512)]
)
def test_cosplace(tmp_path, name, kind, channels):
    net, linear, p = resnet(kind), nn.Linear(channels, 64), torch.tensor([2.6])
    weights = prefixed(net, "backbone.") | {"aggregation.1.p": p} | prefixed(linear, "aggregation.3.")
    torch.save(weights, tmp_path / "c.pth")
    x = photograph(64)
    with torch.no_grad():
        features = unit(net(normal(x)))
        pooled = features.clamp(min=1e-6).pow(2.6).mean((2, 3)).pow(1 / 2.6)
        wanted = unit(linear(pooled))
    assert torch.allclose(described(name, tmp_path / "c.pth", x), wanted, atol=1e-5)


def vgg():
    return torchvision.models.vgg16().features[:29].eval()


def test_cosplace_on_vgg(tmp_path):
    net, linear, p = vgg(), nn.Linear(512, 64), torch.tensor([3.0])
    weights = prefixed(net, "backbone.") | {"aggregation.1.p": p} | prefixed(linear, "aggregation.3.")
    torch.save(weights, tmp_path / "c.pth")
    x = photograph(64)
    with torch.no_grad():
        pooled = unit(net(normal(x))).clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)
        wanted = unit(linear(pooled))
    assert torch.allclose(described("cosplace", tmp_path / "c.pth", x), wanted, atol=1e-5)


# NetVLAD and SFRS; their whitening with 32 numbers instead of 4,096

VGG_MEAN = torch.tensor([123.68, 116.779, 103.939])[:, None, None]


def vlad_by_channel(features, assign, centres):
    "[b, channels, clusters], place by place."
    x = unit(features)[0].flatten(1)
    shares = (assign @ x).softmax(0)
    v = torch.stack([(shares[k] * (x - centres[k][:, None])).sum(1) for k in range(len(centres))], 1)
    return (v / v.norm(dim=0))[None]


def test_sfrs(tmp_path):
    net, assign, centres = vgg(), 5 * torch.randn(64, 512), torch.rand(64, 512)
    pca = nn.Conv2d(32_768, 32, 1)
    weights = prefixed(net, "base_model.base.") | prefixed(pca, "pca_layer.")
    weights |= {"net_vlad.conv.weight": assign[:, :, None, None], "net_vlad.centroids": centres}
    torch.save(weights, tmp_path / "s.pth")
    x = photograph(64)
    with torch.no_grad():
        v = vlad_by_channel(net(255 * x - VGG_MEAN), assign, centres)
        wanted = unit(pca(unit(v.transpose(1, 2).flatten(1))[:, :, None, None]).flatten(1))
    assert torch.allclose(described("sfrs", tmp_path / "s.pth", x), wanted, atol=1e-4)
    assert public_method(f"sfrs:{tmp_path / 's.pth'}").size == (480, 640), "as its authors measure it"


def matlab_pair(a, b):
    pair = np.empty(2, object)
    pair[:] = [a.numpy(), b.numpy()]
    return pair


def test_netvlad_of_matlab(tmp_path):
    net, assign, centres = vgg(), 5 * torch.randn(64, 512), torch.rand(64, 512)
    weight, bias, colour = torch.randn(32_768, 32) / 181, torch.randn(32), np.array([123.0, 117.0, 104.0])
    layers = np.empty(34, object)
    layers[:] = [dict(type="other") for _ in layers]
    for i, part in enumerate(net):
        if isinstance(part, nn.Conv2d):
            layers[i] = dict(
                weights=matlab_pair(part.weight.detach().permute(2, 3, 1, 0), part.bias.detach())
            )
    layers[30] = dict(weights=matlab_pair(assign.T, -centres.T))
    layers[33] = dict(weights=matlab_pair(weight[None, None], bias))
    image = np.broadcast_to(colour, (2, 2, 3))
    savemat(
        tmp_path / "n.mat",
        dict(net=dict(layers=layers, meta=dict(normalization=dict(averageImage=image)))),
    )
    x = photograph(64)
    with torch.no_grad():
        features = net(255 * x - torch.tensor(colour, dtype=torch.float32)[:, None, None])
        v = unit(vlad_by_channel(features, assign, centres).flatten(1))
        wanted = unit(v @ weight + bias)
    model = load_public("netvlad", str(tmp_path / "n.mat"))
    with torch.no_grad():
        assert torch.allclose(model(x), wanted, atol=1e-4)
    save_model(model, tmp_path / "ours.safetensors")
    with torch.no_grad():
        assert torch.equal(load_model(tmp_path / "ours.safetensors")(x), model(x)), "its mean colour is kept"


# Conv-AP and MixVPR


def test_convap(tmp_path):
    net, conv = resnet(), nn.Conv2d(2048, 128, 1)
    weights = named_resnet(net, "backbone.model.") | prefixed(conv, "aggregator.channel_pool.")
    torch.save(dict(state_dict=weights, optimizer_states=[dict(lr=1e-4)]), tmp_path / "c.ckpt")
    x = photograph(128)
    with torch.no_grad():
        features = conv(net(normal(x)))
        quarters = [features[..., i : i + 2, j : j + 2].mean((2, 3)) for i in (0, 2) for j in (0, 2)]
        wanted = unit(torch.stack(quarters, 2).flatten(1))
    assert torch.allclose(described("convap", tmp_path / "c.ckpt", x), wanted, atol=1e-5)


def mixer():
    layers = nn.LayerNorm(400), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 400)
    return nn.Sequential(*layers)


def test_mixvpr(tmp_path):
    net, mixers = resnet(last="layer3"), [mixer() for _ in range(4)]
    channels, rows = nn.Linear(1024, 64), nn.Linear(400, 2)
    weights = named_resnet(net, "backbone.model.") | prefixed(channels, "aggregator.channel_proj.")
    weights |= prefixed(rows, "aggregator.row_proj.")
    for i, part in enumerate(mixers):
        weights |= prefixed(part, f"aggregator.mix.{i}.mix.")
    torch.save(weights, tmp_path / "m.ckpt")
    x = photograph(320)
    with torch.no_grad():
        y = net(normal(x)).flatten(2)
        for part in mixers:
            y = y + part(y)
        wanted = unit(rows(channels(y.mT).mT).flatten(1))
        model = load_public("mixvpr", str(tmp_path / "m.ckpt"))
        assert torch.allclose(model(x), wanted, atol=1e-5)
        with pytest.raises(ValueError, match="built for maps of 20 x 20 places, and this one is 4 x 4"):
            model(photograph(64))


# DINOv2, in a few lines

WIDTH, HEADS, BLOCKS = 768, 12, 12


def dino():
    "Weights of DINOv2-B by its authors' names."
    g = torch.Generator().manual_seed(2)
    number = lambda *shape, scale=0.02: scale * torch.randn(shape, generator=g)
    w = {
        "cls_token": number(1, 1, WIDTH),
        "pos_embed": number(1, 1370, WIDTH, scale=0.5),
        "mask_token": number(1, WIDTH),
    }
    w |= {"patch_embed.proj.weight": number(WIDTH, 3, 14, 14), "patch_embed.proj.bias": number(WIDTH)}
    sizes = {"attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for i in range(BLOCKS):
        for name, (out, inside) in sizes.items():
            w[f"blocks.{i}.{name}.weight"] = number(out * WIDTH, inside * WIDTH)
            w[f"blocks.{i}.{name}.bias"] = number(out * WIDTH)
        for name in ("norm1", "norm2"):
            w[f"blocks.{i}.{name}.weight"] = 1 + number(WIDTH)
            w[f"blocks.{i}.{name}.bias"] = number(WIDTH)
        for name in ("ls1", "ls2"):
            w[f"blocks.{i}.{name}.gamma"] = number(WIDTH, scale=0.5)
    return w | {"norm.weight": 1 + number(WIDTH), "norm.bias": number(WIDTH)}


def layer(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w, name, x):
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]


def positions(w, side):
    "As DINOv2's code asks torch for it."
    token, grid = w["pos_embed"][:, :1], w["pos_embed"][:, 1:].reshape(1, 37, 37, WIDTH).permute(0, 3, 1, 2)
    factor = (side + 0.1) / 37
    grid = F.interpolate(grid, scale_factor=(factor, factor), mode="bicubic", antialias=False)
    assert grid.shape[-2:] == (side, side)
    return torch.cat([token, grid.permute(0, 2, 3, 1).reshape(1, side * side, WIDTH)], 1)


def dino_tokens(w, x):
    "The tokens after the last block, before the last normalisation."
    side = x.shape[-1] // 14
    patches = (
        normal(x).unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(1, side * side, -1)
    )
    tokens = patches @ w["patch_embed.proj.weight"].flatten(1).T + w["patch_embed.proj.bias"]
    t = torch.cat([w["cls_token"], tokens], 1) + positions(w, side)
    for i in range(BLOCKS):
        b = f"blocks.{i}."
        q, k, v = (
            layer(w, f"{b}attn.qkv", norm(w, f"{b}norm1", t))[0].view(-1, 3, HEADS, 64).permute(1, 2, 0, 3)
        )
        a = (q @ k.mT / math.sqrt(64)).softmax(-1) @ v
        t = t + w[f"{b}ls1.gamma"] * layer(w, f"{b}attn.proj", a.transpose(0, 1).reshape(1, -1, WIDTH))
        h = F.gelu(layer(w, f"{b}mlp.fc1", norm(w, f"{b}norm2", t)))
        t = t + w[f"{b}ls2.gamma"] * layer(w, f"{b}mlp.fc2", h)
    return t


def two(a, b):
    return nn.Sequential(a, nn.Dropout(0.3), nn.ReLU(), b).eval()


def salad_parts(clusters, own):
    conv = lambda out: two(nn.Conv2d(WIDTH, 512, 1), nn.Conv2d(512, out, 1))
    token = nn.Sequential(nn.Linear(WIDTH, 512), nn.ReLU(), nn.Linear(512, 256))
    return dict(token_features=token, cluster_features=conv(own), score=conv(clusters))


def salad(parts, dustbin, tokens, side):
    "Sinkhorn in float64 without logarithms; then cluster by cluster."
    features = tokens[:, 1:].mT.reshape(1, WIDTH, side, side)
    scores, x = (parts[name](features).flatten(2)[0] for name in ("score", "cluster_features"))
    (m, n), t = scores.shape, parts["token_features"](tokens[:, 0])
    kernel = torch.cat([scores, dustbin.expand(1, n)]).double().exp()
    want = torch.ones(m + 1).double()
    want[-1], v = n - m, torch.ones(n).double()
    for _ in range(3):
        u = want / (kernel @ v)
        v = 1 / (u @ kernel)
    plan = (u[:, None] * kernel * v).float()[:-1]
    clusters = torch.stack([(x * plan[k]).sum(1) for k in range(m)], 1)
    return unit(torch.cat([unit(t), (clusters / clusters.norm(dim=0)).flatten()[None]], 1))


def salad_weights(before, parts, dustbin):
    weights = {f"{before}dust_bin": dustbin}
    for name, part in parts.items():
        weights |= prefixed(part, f"{before}{name}.")
    return weights


SIDE = 10  # patches: the fewest whole tens that are more than 64 places


def test_salad(tmp_path):
    w, parts, dustbin = dino(), salad_parts(64, 128), torch.tensor(0.8)
    weights = {f"backbone.model.{k}": v for k, v in w.items()} | salad_weights("aggregator.", parts, dustbin)
    torch.save(weights, tmp_path / "dino_salad.ckpt")
    x = photograph(14 * SIDE)
    with torch.no_grad():
        wanted = salad(parts, dustbin, norm(w, "norm", dino_tokens(w, x)), SIDE)
        model = load_public("salad", str(tmp_path / "dino_salad.ckpt"), input_size=14 * SIDE)
        assert wanted.shape == (1, 8448) and torch.allclose(model(x), wanted, atol=1e-4)
        assert read_published(f"salad:{tmp_path}/dino_salad.ckpt").settings["salad_token"] == 256
        other = load_public("salad", str(tmp_path / "dino_salad.ckpt"))
        assert other.cfg.input_size == 322 and other.trunk.patch_embed.grid_size == (23, 23)
        other.resize(14 * SIDE)
        assert torch.equal(other(x), model(x)), (
            "another size is read from the file's positions, not from 322's"
        )
        other.trunk.pos_embed.fill_(7.0)
        other.resize(322)
        assert torch.allclose(other.trunk.pos_embed, torch.tensor(7.0)), "what was trained is kept"


@pytest.mark.parametrize("before", ["backbone.model.", "backbone."])
def test_megaloc(tmp_path, before):
    from safetensors.torch import save_file

    w, parts, dustbin = dino(), salad_parts(64, 256), torch.tensor(1.2)
    linear = nn.Linear(16_640, 48)  # instead of 8,448
    weights = {f"{before}{k}": v for k, v in w.items()} | salad_weights("aggregator.agg.", parts, dustbin)
    weights |= prefixed(linear, "aggregator.linear.")
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "model.safetensors")
    x = photograph(14 * SIDE)
    with torch.no_grad():
        wanted = unit(linear(salad(parts, dustbin, norm(w, "norm", dino_tokens(w, x)), SIDE)))
    found = described("megaloc", tmp_path / "model.safetensors", x, input_size=14 * SIDE)
    assert torch.allclose(found, wanted, atol=1e-4)


# BoQ


class Block(nn.Module):
    "One block of queries, by torch's own layers."

    def __init__(self, d):
        super().__init__()
        heads = d // 64
        self.encoder = nn.TransformerEncoderLayer(d, heads, 4 * d, dropout=0.0, batch_first=True)
        self.queries = nn.Parameter(torch.randn(1, 64, d))
        self.self_attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.norm_q, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)


def boq_parts(channels, d):
    parts = dict(
        proj_c=nn.Conv2d(channels, d, 3, padding=1), norm_input=nn.LayerNorm(d), fc=nn.Linear(128, 32)
    )
    parts["boqs"] = nn.ModuleList([Block(d), Block(d)])
    return parts


def attend(m, q, x):
    "Attention written out, of one picture."
    (wq, wk, wv), (bq, bk, bv) = m.in_proj_weight.chunk(3), m.in_proj_bias.chunk(3)
    split = lambda y: y.view(len(y), -1, 64).transpose(0, 1)
    q, k, v = split(q @ wq.T + bq), split(x @ wk.T + bk), split(x @ wv.T + bv)
    a = (q @ k.mT / 8).softmax(-1) @ v
    return m.out_proj(a.transpose(0, 1).reshape(q.shape[1], -1))


def boq(parts, features):
    x, answers = parts["norm_input"](parts["proj_c"](features)[0].flatten(1).T), []
    for b in parts["boqs"]:
        e = b.encoder
        x = e.norm1(x + attend(e.self_attn, x, x))
        x = e.norm2(x + e.linear2(e.linear1(x).relu()))
        q = b.queries[0]
        q = b.norm_q(q + attend(b.self_attn, q, q))
        answers.append(b.norm_out(attend(b.cross_attn, q, x)))
    return unit(parts["fc"](torch.cat(answers).T).flatten()[None])


def boq_weights(parts):
    return {k: v for name, part in parts.items() for k, v in prefixed(part, f"aggregator.{name}.").items()}


def test_boq_on_resnet(tmp_path):
    net, parts = resnet(last="layer3"), boq_parts(1024, 512)
    torch.save(prefixed(net, "backbone.net.") | boq_weights(parts), tmp_path / "resnet50_16384.pth")
    x = photograph(96)
    with torch.no_grad():
        wanted = boq(parts, net(normal(x)))
    assert wanted.shape == (1, 16_384)
    assert torch.allclose(described("boq_resnet50", tmp_path / "resnet50_16384.pth", x), wanted, atol=1e-5)


def test_boq_on_dino(tmp_path):
    w, parts = dino(), boq_parts(WIDTH, 384)
    weights = {f"module.backbone.dino.{k}": v for k, v in w.items()}
    weights |= {f"module.{k}": v for k, v in boq_weights(parts).items()}
    torch.save(dict(model_state_dict=weights), tmp_path / "dinov2_12288.pth")
    x = photograph(56)
    with torch.no_grad():
        features = dino_tokens(w, x)[:, 1:].mT.reshape(1, WIDTH, 4, 4)
        wanted = boq(parts, features)
    assert wanted.shape == (1, 12_288)
    found = described("boq", tmp_path / "dinov2_12288.pth", x, input_size=56)
    assert torch.allclose(found, wanted, atol=1e-4)


# As a start, and what is refused


def test_a_start_for_training_keeps_what_was_published(tmp_path):
    net, linear = resnet("resnet18"), nn.Linear(512, 32)
    weights = prefixed(net, "backbone.") | {"aggregation.1.p": torch.tensor([3.0])}
    torch.save(weights | prefixed(linear, "aggregation.3."), tmp_path / "c.pth")
    from landmark_nb.train.start import start_model

    model = Embedder(ModelConfig(weights=f"cosplace:{tmp_path}/c.pth", freeze=3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    start_model(model, lambda: [(torch.arange(8), torch.rand(8, 3, 64, 64))], 8)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model(torch.rand(2, 3, 64, 64)).sum().backward()
    moving = {k.split(".")[1] for k, p in model.trunk.named_parameters(prefix="x") if p.grad is not None}
    assert moving == {"layer3", "layer4"}


def test_a_row_of_the_table(tmp_path):
    net, linear = resnet("resnet18"), nn.Linear(512, 32)
    weights = prefixed(net, "backbone.") | {"aggregation.1.p": torch.tensor([3.0])}
    torch.save(weights | prefixed(linear, "aggregation.3."), tmp_path / "c.pth")
    (row,) = find_methods([f" cosplace:{tmp_path / 'c.pth'}"])
    assert row.size == 512 and row.name.endswith("512 px squares (its authors: as they come)")
    own = load_public("cosplace", tmp_path / "c.pth")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert row.model.dim == 32 and torch.equal(row.model(x), own(x))


def test_every_layout_names_what_is_missing(tmp_path):
    for name in PUBLISHED.keys() - {"netvlad"}:
        torch.save({"fc.weight": torch.ones(2)}, tmp_path / "other.pth")
        with pytest.raises(
            ValueError, match=f"other.pth: is no file of {name}: it lacks .*; it has fc.weight"
        ):
            load_public(name, str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match="other.pth: is not whole, or no network of MATLAB's"):
        load_public("netvlad", str(tmp_path / "other.pth"))


def test_a_truncated_file_and_one_that_lies(tmp_path):
    net = resnet("resnet18")
    weights = prefixed(net, "backbone.") | {"aggregation.1.p": torch.tensor([3.0])}
    torch.save(weights | prefixed(nn.Linear(512, 8), "aggregation.3."), tmp_path / "c.pth")
    whole = (tmp_path / "c.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.pth: is not whole"):
        load_public("cosplace", str(tmp_path / "cut.pth"))
    torch.save(weights | prefixed(nn.Linear(256, 8), "aggregation.3."), tmp_path / "l.pth")
    with pytest.raises(ValueError, match=r"l.pth: .*'aggregation.3.weight' as \(8, 256\), not \(8, 512\)"):
        load_public("cosplace", str(tmp_path / "l.pth"))


def test_images_as_published():
    image = torch.randint(0, 256, (3, 100, 130), dtype=torch.uint8)
    small = torchvision.transforms.functional
    for name, mode in (("mixvpr", "bilinear"), ("boq", "bicubic")):
        facts = PUBLISHED[name]
        way = torchvision.transforms.InterpolationMode(mode)
        wanted = small.resize(image / 255, list(facts.size), interpolation=way, antialias=True)
        assert torch.allclose(prepared(facts, image)[0], wanted.clamp(0, 1), atol=1e-6)
