"What the processes of `test_cosplace` do: short trainings whose workers share each batch, each a part."

import functools
from pathlib import Path

import torch

from landmark_nb.models.cosface import CosFace
from landmark_nb.models.losses import LOSSES
from landmark_nb.train.checkpoint import (
    head_tensors,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
    trunk_tensors,
    whole_rows,
)

SETTINGS = dict(
    recipe="cosplace",
    data="smoke",
    trunk="test_resnet",
    batch_norm="keep",
    image_size=32,
    dim=16,
    groups=2,
    batch_size=8,
    steps=2,
    iterations=3,
    lr=1e-3,
    device="cpu",
    loader_workers=0,
    plugins="cosplace_workers",
)
TRICKS = dict(freeze_steps=1, imprint_again=True, reset_head_optimizer=True, warmup_steps=2, decay="cosine")
GSV = dict(recipe="gsv", places=4, images_per_class=2, batch_size=None)
CASES = {  # name -> settings
    "cosface": {},
    "arcface": dict(loss="arcface"),
    "tricks": TRICKS | dict(ema=0.9),
    "whole": dict(loss="whole"),
    "pairs": dict(loss="together", images_per_class=2),
    "bfloat16": dict(precision="bfloat16"),
    "float16": dict(precision="float16"),
    "moving norms": dict(batch_norm="train"),
    "eigenplaces": dict(classes="eigenplaces", groups=4, batch_size=4),  # two heads share each step
    "gsv": GSV,
    "gsv, chunks": GSV | dict(chunk=3, optimiser="sgd", decay="linear", warmup_steps=2),
}
SAVED_AT = 1  # step: the second group's head is made after it


class Together(torch.nn.Module):
    "A small loss over pairs: photographs of one class should point the same way, others should not."

    pairs = True

    def forward(self, descriptors, labels):
        same = (labels[:, None] == labels).to(descriptors.dtype)
        return (descriptors @ descriptors.T - same).square().mean()


LOSSES.register("together")(lambda dim, counts: Together())
LOSSES.register("whole")(lambda dim, counts: CosFace(dim, len(counts)))  # cannot be shared


def settings_of(name: str) -> dict:
    "A case's settings; None is none."
    return {key: value for key, value in (SETTINGS | CASES[name]).items() if value is not None}


def join(rank: int, world: int, meet: str):
    "Make the process group of some workers on this machine."
    from landmark_nb.train.workers import Workers

    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meet}", rank=rank, world_size=world
        )
    return Workers(rank, world, world)


@functools.cache
def photographs(worlds: Path, workers, images_per_class: int, more: tuple):
    "What all cases train on, read once for each way to group it."
    from landmark_nb.experiments import configure

    settings = SETTINGS | dict(more, worlds=str(worlds), images_per_class=images_per_class)
    return configure(**settings).prepare(workers, test=False)


def begin(folder: Path, name: str, workers, checkpoint: Path | None = None):
    "A case's training at its start, or from a checkpoint."
    from landmark_nb.experiments import configure
    from landmark_nb.runs.recipe import open_folder
    from landmark_nb.train.start import start_model

    recipe = configure(**settings_of(name), out=str(folder / name), worlds=str(folder / "worlds"))
    grouped = tuple(CASES[name].items()) if "classes" in CASES[name] else ()
    data = photographs(folder / "worlds", workers, recipe.data.images_per_class, grouped)
    training = recipe.training(data, open_folder(recipe, workers.rank), workers)
    if checkpoint is not None:
        load_checkpoint(training.state, checkpoint, {}, (), counts=data.counts)
        return training
    start_model(training.state.model, training.sample, training.sampled, workers)
    scaler = training.state.scaler
    if scaler.is_enabled():  # begin where nothing overflows
        scaler.load_state_dict(scaler.state_dict() | dict(scale=128.0))
    return training


def gradients(head, sharing) -> list:
    "Of a head's weights, of all workers."
    own = [p.grad for p in head.module.parameters()]
    if sharing.world == 1 or head.share[1] == 1:
        return own
    return [whole_rows(g, head.module.classes, sharing) for g in own]


def found(training) -> dict:
    "What a training has come to: the same on all workers."
    state = training.state
    heads = {g: head_tensors(state.heads[g], state.sharing) for g in sorted(state.heads)}
    named = {f"{g}.{name}": t for g, tensors in heads.items() for name, t in tensors.items()}
    return {name: t.clone() for name, t in (trunk_tensors(state) | named).items()}


def follow(training, last: int, save: Path | None = None) -> dict:
    "Train to a step; the losses, and the gradients of the first of them."
    training.begin()
    state, losses, first = training.state, [], {}
    for step in training.steps(None):
        losses.append(step.loss)
        if len(losses) == 1:
            trunk = [p.grad.flatten() for p in state.model.parameters() if p.grad is not None]
            head = gradients(state.heads[step.group], state.sharing)
            first = dict(trunk=torch.cat(trunk) if trunk else torch.zeros(1), head=[g.clone() for g in head])
        if step.step == SAVED_AT and save is not None:
            save_checkpoint(state, save, {}, workers=state.sharing)
        if step.step == last:
            break
    return dict(losses=torch.stack(losses), gradients=first)


def case(folder: Path, name: str, workers, before: int) -> dict:
    "A training, one that goes on from its middle, and one from the middle of another number of workers."
    training, own = begin(folder, name, workers), folder / f"{name}-{workers.world}"
    out = dict(start=found(training))
    out |= follow(training, 6, own) | dict(end=found(training))
    for world in {workers.world, before}:
        again = begin(folder, name, workers, latest_checkpoint(folder / f"{name}-{world}"))
        follow(again, 6)
        out[f"from {world}"] = found(again)
    return out


def overflow(workers) -> dict:
    "One worker's gradient overflows: nobody takes the step, and all halve the scale."
    from landmark_nb.models.embed import Embedder, ModelConfig
    from landmark_nb.train.state import OptimConfig, agree_on_gradients, new_state

    state = new_state(Embedder(ModelConfig("test_resnet", "none", 8, 0)), OptimConfig(precision="float16"))
    state.sharing = workers
    head = state.head(0, [4] * 5)
    before = head.module.weight.detach().clone()
    state.scaler.scale(torch.zeros(()))
    head.module.weight.grad = torch.ones_like(before)
    if workers.rank == 1:
        head.module.weight.grad[0, 0] = torch.inf
    agree_on_gradients(state, head)
    state.scaler.step(head.opt)
    state.scaler.update()
    left_out = torch.equal(before, head.module.weight)
    return dict(left_out=left_out, scale=state.scaler.get_scale(), classes=len(before))


def work(rank: int, world: int, before: int, folder: Path, names: list[str]):
    "All cases; the first worker writes what was found. `before`: whose checkpoints are gone on from."
    workers = join(rank, world, f"{folder}/meet-{world}-{before}")
    for name in names:
        out = case(folder, name, workers, before)
        if workers.first:
            torch.save(out, folder / f"{name}-{world}.pt")
    if world == 2:
        torch.save(overflow(workers), folder / f"overflow.{rank}.pt")
    if world > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
