"""Small models and images, for tests of all that is done with a method."""

import numpy as np
import torch

from medae.models import methods
from medae.models.networks import set_precision
from medae.models.scoring import score_batches
from medae.models.steps import Stepper
from medae.models.torch_setup import seed_everything
from medae.models.training import Member, Training, train, train_epoch

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "channels": 1, "latent_dim": 2, "width": 4, "hidden_dim": 8}


def arguments(method):
    """Return what `build` takes; a square that is masked has to fit into the image."""
    return SIZES | ({"mask_side": 3} if method == "ceae" else {})


def make_images(n=13):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), np.uint8))


def make_model(method="ae", seed=0, precision="float32"):
    seed_everything(seed)
    model = methods.build(method, **arguments(method))
    set_precision(model, precision)
    return model.to(memory_format=torch.channels_last)


def make_training(folder, *, method="ae", seed=0, precision="float32", n=13, settings=None):
    """Return a training with its state in `folder`."""
    return Training(
        build=lambda: make_model(method, seed, precision),
        rows=torch.arange(n),
        seed=seed,
        settings={"name": "test"} if settings is None else settings,
        state=folder / "resume.safetensors",
        label=f"phantom {method} seed={seed}",
    )


def fit_all(trainings, *, images=None, **more):
    """Train; return what `train` returns."""
    options = {"epochs": 3, "batch_size": 4, "learning_rate": 1e-3, "save_seconds": 0} | more
    return train(trainings, make_images() if images is None else images, **options)


def fit(folder, *, images=None, method="ae", seed=0, precision="float32", settings=None, **more):
    """Train a new model with its state in `folder`; return it and its history."""
    images = make_images() if images is None else images
    own = {"method": method, "seed": seed, "precision": precision, "settings": settings}
    training = make_training(folder, n=len(images), **own)
    (trained,) = fit_all([training], images=images, **more)
    return trained.model, trained.history


def stop_at(check):
    """A `stop` that names a signal when it is asked for the `check`-th time."""
    asked = []
    return lambda: "SIGTERM" if asked.append(1) or len(asked) == check else None


def step_through(folder, *methods, records, spoil=None):
    """Train 3 epochs of 4 batches, recording steps as on CUDA or not; return models and losses."""
    members = []
    for method in methods:
        training = make_training(folder / method, method=method, n=14)
        members.append(Member(training, make_images(14), batch_size=4, learning_rate=1e-3))
        if spoil is not None:
            next(members[-1].trainee.model.parameters()).data.fill_(spoil)
    stepper = Stepper([member.trainee for member in members])
    stepper._may_record = records
    for _ in range(3):
        train_epoch(members, stepper)
    return members


def one_by_one(taken, batches):
    """Take each of the steps, as a recording does on CUDA."""
    return [step(*batch) for step, batch in zip(taken, batches, strict=True)]


def equal(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def scores_of(model, images, batch_size, **more):
    """Return the arrays that scoring gives for uint8 images, by name."""
    parts = list(score_batches(model, images, batch_size=batch_size, device=CPU, **more))
    names = ("scores", "errors", "maps", "latents", "reconstructions")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
