"""A tiny GAN in training on a cloud of points."""

import torch

from genloss.data import Dataset
from genloss.data.base import Split
from genloss.losses import Hinge
from genloss.models import GAN, AppliedConstraint, AppliedPenalty, Prior
from genloss.networks import MLP
from genloss.training.batches import BatchStream
from genloss.training.randomness import spawn
from genloss.training.state import PlayerTraining, TrainingState


def cloud(n=50):
    rng = torch.Generator().manual_seed(0)
    splits = {name: Split(torch.randn(n, 2, generator=rng)) for name in ("train", "select", "test")}
    return Dataset(name="cloud", kind="points", shape=(2,), splits=splits)


def make_state(
    *, loss=None, penalties=(), constraints=(), learning_rate=1e-2, ema=None, critic_updates=1, clip_norm=None
):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mlp = MLP(width=8, depth=1)
        model = GAN(
            mlp.generator(2, (2,), bounded=False),
            mlp.critic((2,)),
            loss or Hinge(),
            Prior("normal", 2),
            penalties=[*map(AppliedPenalty, penalties), *map(AppliedConstraint, constraints)],
        )
        model.set_updates(discriminator=critic_updates)
    streams = spawn(0, "cpu")
    batches = BatchStream(cloud(), 16, streams["order"], streams["data"])
    training = {
        player.name: PlayerTraining(
            torch.optim.Adam(model.module_of(player).parameters(), learning_rate, fused=True), clip_norm=clip_norm
        )
        for player in model.players
    }
    return TrainingState(model, training, batches, streams, ema=ema)
