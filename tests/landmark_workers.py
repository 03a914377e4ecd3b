"What the two processes of `test_landmarks.test_shared_head` do."

import torch
from torch import nn

from landmark_nb.models.arcface import SubCenterArcFace


def setup(
    shard: tuple[int, int],  # (rank, workers)
) -> tuple:  # trunk, inputs [8, 6], labels [8], head
    "The same trunk, batch and head everywhere, of the head its share."
    g = torch.Generator().manual_seed(1)
    trunk = nn.Linear(6, 10)
    trunk.weight.data = torch.randn(10, 6, generator=g)
    trunk.bias.data.zero_()
    x, y = torch.randn(8, 6, generator=g), torch.tensor([0, 12, 3, 3, 7, 11, 5, 9])
    counts = [1 + 7 * i for i in range(13)]
    return trunk, x, y, SubCenterArcFace(10, counts, K=3, s=20.0, shard=shard, seed=2)


def shared_head(
    rank: int,  # of two processes
    port: int,  # where they meet
    out: str,  # folder for what this one found
):
    "Half of a batch through the trunk, the whole of it through half of the head, and back."
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    trunk, x, y, head = setup((rank, 2))
    net = nn.parallel.DistributedDataParallel(trunk)
    mine = slice(rank * 4, rank * 4 + 4)
    loss = head(net(x[mine]), y[mine])
    loss.backward()
    found = dict(loss=loss.detach(), trunk=trunk.weight.grad, centers=head.centers.grad)
    torch.save(found | dict(logits=head.logits(trunk(x)).detach()), f"{out}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
