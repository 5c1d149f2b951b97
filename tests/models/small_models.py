"""Small models and images, for tests of all that is done with a method."""

import numpy as np
import torch

from medae.models import methods
from medae.models.networks import set_precision
from medae.models.scoring import score_batches
from medae.models.steps import Stepper
from medae.models.torch_setup import seed_everything
from medae.models.training import new_optimizer, train, train_epoch

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "channels": 1, "latent_dim": 2, "width": 4, "hidden_dim": 8}


def arguments(method):
    """Return what `build` takes; a square that is masked has to fit into the image."""
    return SIZES | ({"mask_side": 3} if method == "ceae" else {})


def make_images(n=13):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), np.uint8))


def make_model(method="ae", seed=0, precision=torch.float32):
    seed_everything(seed)
    model = methods.build(method, **arguments(method))
    set_precision(model, precision)
    return model.to(memory_format=torch.channels_last)


def fit(
    folder, *, method="ae", seed=0, precision=torch.float32, images=None, settings=None, **more
):
    """Train a new model with its state in `folder`; return it and its history."""
    folder.mkdir(exist_ok=True)
    model = make_model(method, seed, precision)
    images = make_images() if images is None else images
    options = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "save_seconds": 0} | more
    history, _ = train(
        model,
        images,
        torch.arange(len(images)),
        seed=seed,
        settings={"name": "test"} if settings is None else settings,
        state=folder / "resume.safetensors",
        **options,
    )
    return model, history


def step_through(method, *, records, spoil=None):
    """Train 3 epochs of 4 batches, recording steps as on CUDA or not; return model and losses."""
    model = make_model(method)
    if spoil is not None:
        next(model.parameters()).data.fill_(spoil)
    stepper = Stepper(model, new_optimizer(model, learning_rate=1e-3, device=CPU), make_images(14))
    stepper._may_record = records
    options = {"batch_size": 4, "seed": 0}
    return model, [train_epoch(stepper, torch.arange(14), epoch=e, **options) for e in range(3)]


def equal(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def scores_of(model, images, batch_size, **more):
    """Return the arrays that scoring gives for uint8 images, by name."""
    parts = list(score_batches(model, images, batch_size=batch_size, device=CPU, **more))
    names = ("scores", "errors", "maps", "latents", "reconstructions")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
