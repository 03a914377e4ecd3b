"What the two processes of `test_landmarks.test_shared_head` do."

import torch
from torch import nn

from landmark_nb.models.arcface import SubCenterArcFace


def setup(shard):
    "The same trunk, batch and head everywhere; the head's share by `shard`."
    g = torch.Generator().manual_seed(1)
    trunk = nn.Linear(6, 10)
    trunk.weight.data = torch.randn(10, 6, generator=g)
    trunk.bias.data.zero_()
    x, y = torch.randn(8, 6, generator=g), torch.tensor([0, 12, 3, 3, 7, 11, 5, 9])
    return trunk, x, y, SubCenterArcFace(10, [1 + 7 * i for i in range(13)], K=3, s=20.0, shard=shard, seed=2)


def shared_head(rank, port, out):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    trunk, x, y, head = setup((rank, 2))
    net = nn.parallel.DistributedDataParallel(trunk)
    mine = slice(rank * 4, rank * 4 + 4)
    loss = head(net(x[mine]), y[mine])
    loss.backward()
    torch.save(
        dict(
            loss=loss.detach(),
            trunk=trunk.weight.grad,
            centers=head.centers.grad,
            logits=head.logits(trunk(x)).detach(),
        ),
        f"{out}/{rank}.pt",
    )
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
