"""What only a GPU shows: recorded and side by side equals alone, bit for bit."""

from functools import partial

import numpy as np
import pytest
import torch
from small_models import equal, stop_at

from medae.base.errors import InputError
from medae.models import methods
from medae.models.networks import set_precision
from medae.models.scoring import score_batches
from medae.models.torch_setup import allow_tf32, make_deterministic, seed_everything
from medae.models.training import Training, train

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA"),
]
IMAGES = np.random.default_rng(0).integers(0, 256, (200, 1, 64, 64), np.uint8)


@pytest.fixture(params=["float32", "tf32", "bfloat16"])
def precision(request):
    make_deterministic(1)
    allow_tf32(request.param)
    yield request.param
    allow_tf32("float32")


def trainings(folder, precision, settings):
    """Return a training for each (method, d, seed)."""

    def build(method, latent_dim, seed):
        seed_everything(seed)
        model = methods.build(method, image_size=64, channels=1, latent_dim=latent_dim)
        set_precision(model, precision)
        return model.to("cuda", memory_format=torch.channels_last)

    return [
        Training(
            build=partial(build, *setting),
            rows=torch.arange(200),
            seed=setting[2],
            settings={},
            state=folder / str(number) / "resume.safetensors",
            label=str(setting),
        )
        for number, setting in enumerate(settings)
    ]


def fit(folder, precision, settings, **more):
    options = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-3, "save_seconds": 1e9} | more
    images = torch.from_numpy(IMAGES).cuda()
    return train(trainings(folder, precision, settings), images, **options)


def test_a_recorded_training_equals_an_eager_one(precision, tmp_path, caplog):
    for method in methods.METHODS:
        ((recorded,), (eager,)) = (
            fit(tmp_path / f"{method}{graphs}", precision, [(method, 16, 0)], cuda_graphs=graphs)
            for graphs in (True, False)
        )
        assert equal(recorded.model, eager.model), method
        assert recorded.history.equals(eager.history)
    assert "without a CUDA graph" not in caplog.text


def test_a_model_is_the_same_in_any_company(precision, tmp_path, caplog):
    settings = [("ae", 16, 0), ("vae", 4, 1), ("memae", 16, 2), ("ceae", 16, 0), ("ae", 128, 3)]
    together = fit(tmp_path / "together", precision, settings)
    for number, (setting, one) in enumerate(zip(settings, together, strict=True)):
        (alone,) = fit(tmp_path / f"alone{number}", precision, [setting])
        assert equal(one.model, alone.model), setting
        assert one.history.equals(alone.history)
    assert "without a CUDA graph" not in caplog.text


def test_resumed_equals_uninterrupted(precision, tmp_path):
    settings = [("ae", 16, 0), ("vae", 16, 1)]
    whole = fit(tmp_path / "whole", precision, settings, epochs=4)
    with pytest.raises(InputError):
        fit(tmp_path / "parts", precision, settings, epochs=4, stop=stop_at(3))
    resumed = fit(tmp_path / "parts", precision, settings, epochs=4)
    assert all(equal(a.model, b.model) for a, b in zip(whole, resumed, strict=True))


def test_the_first_losses_are_those_of_the_cpu(precision, tmp_path):
    (found,) = fit(tmp_path / "cuda", precision, [("ae", 16, 0)], epochs=1)
    (training,) = trainings(tmp_path / "cpu", precision, [("ae", 16, 0)])
    on_cpu = training._replace(build=lambda: training.build().cpu())
    options = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}
    (expected,) = train([on_cpu], torch.from_numpy(IMAGES), **options)
    assert found.history["loss"][0] == pytest.approx(expected.history["loss"][0], rel=0.02)


def test_scores_do_not_depend_on_the_batch_and_are_the_cpus(precision, tmp_path):
    (trained,) = fit(tmp_path, precision, [("ae", 16, 0)])
    model = trained.model.eval()
    allow_tf32("float32")
    cuda = torch.device("cuda")

    def scores(device, size):
        parts = score_batches(model.to(device), IMAGES, batch_size=size, device=device)
        return np.concatenate([part.scores for part in parts])

    set_precision(model, "float32")
    whole = scores(cuda, None)
    np.testing.assert_allclose(scores(cuda, 7), whole, rtol=1e-4)
    np.testing.assert_allclose(scores(torch.device("cpu"), 64), whole, rtol=1e-4)
