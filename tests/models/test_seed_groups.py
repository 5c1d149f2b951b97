"""Models of several seeds trained as one: each ends like the same seed trained alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medae.models import methods
from medae.models.networks import normalise, set_precision
from medae.models.seed_groups import Alone, Together
from medae.models.steps import Stepper
from medae.models.torch_setup import make_deterministic, seed_everything
from medae.models.training import train, train_epoch

SIZES = {"image_size": 16, "channels": 2, "latent_dim": 3, "width": 4, "hidden_dim": 8}
OPTIONS = {"ceae": {"mask_side": 3}}
SEEDS = [5, 0, 3]
TOLERANCE = 1e-9  # of weights in float64 after a few steps of 1e-3; sums alone differ by 1e-12


@pytest.fixture(autouse=True)
def deterministic():
    make_deterministic(1)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=sorted(methods.REGISTRY))
def method(request):
    return request.param


def make_model(method, seed, dtype=torch.float64):
    seed_everything(seed)
    model = methods.build(method, **SIZES | OPTIONS.get(method, {}))
    return model.to(dtype=dtype, memory_format=torch.channels_last)


def make_images(n=22):
    values = np.random.default_rng(0).integers(0, 256, (n, 2, 16, 16), np.uint8)
    return torch.from_numpy(values)


def make_rows(members, n=22, size=15):
    """Return another training set for each member."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(np.stack([rng.permutation(n)[:size] for _ in range(members)]))


def fit(group, seeds, rows, folder, *, epochs=2, **changes):
    arguments = {"batch_size": 4, "learning_rate": 1e-3, "settings": {}, "save_seconds": 0}
    state = folder / "resume.safetensors"
    return train(
        group, make_images(), rows, seeds=seeds, epochs=epochs, state=state, **arguments | changes
    )[0]


@pytest.fixture
def float64(monkeypatch):
    """Let images be float64, as the models here are."""
    import medae.models.steps

    monkeypatch.setattr(medae.models.steps, "normalise", lambda images: normalise(images).double())


def test_each_member_equals_the_same_seed_trained_alone(method, float64, tmp_path):
    """Two epochs of 4, 4, 4 and 3 images, each seed with images of its own, in float64."""
    rows = make_rows(len(SEEDS))
    group = Together([make_model(method, seed) for seed in SEEDS])
    histories = fit(group, SEEDS, rows, tmp_path)
    for member, seed in enumerate(SEEDS):
        alone = Alone(make_model(method, seed))
        folder = tmp_path / str(seed)
        folder.mkdir()
        (history,) = fit(alone, [seed], rows[member : member + 1], folder)
        found = group.models()[member].state_dict()
        for name, expected in alone.model.state_dict().items():
            assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
            torch.testing.assert_close(found[name], expected, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(histories[member], history, rtol=0, atol=TOLERANCE)


def test_members_differ_and_a_wrong_seed_would_be_seen(method, float64, tmp_path):
    rows = make_rows(1).expand(2, -1)
    group = Together([make_model(method, 0), make_model(method, 0)])
    fit(group, [0, 1], rows, tmp_path)
    first, second = (model.state_dict() for model in group.models())
    name = "decoder.blocks.0.weight"
    assert (first[name] - second[name]).abs().max() > 100 * TOLERANCE


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(2, 6))
def test_losses_of_a_group_are_those_of_its_models(members, n):
    models = [make_model("vae", seed) for seed in range(members)]
    group = Together(models)
    images = torch.rand(members, n, 2, 16, 16, dtype=torch.float64) * 2 - 1
    generators = [torch.Generator().manual_seed(seed) for seed in range(members)]
    noise = group.noise(images.shape[1:], generators)
    found = group.loss(images, noise)
    for member, model in enumerate(models):
        for name, value in model.loss(images[member], noise[member]).items():
            assert found[name][member].item() == pytest.approx(value.item(), rel=1e-10)


def test_one_model_alone_is_the_model_itself(method):
    model = make_model(method, 0, torch.float32)
    images = normalise(make_images())
    alone = Alone(model)
    noise = alone.noise(images.shape, [torch.Generator().manual_seed(1)])
    expected = model.loss(images, model.noise(images.shape, torch.Generator().manual_seed(1)))
    found = alone.loss(images[None], noise)
    assert {name: value.item() for name, value in found.items()} == {
        name: value.item() for name, value in expected.items()
    }
    assert alone.models() == [model]


def test_bfloat16_of_a_group_is_close_to_float32(method, tmp_path):
    rows = make_rows(len(SEEDS))
    histories = []
    for precision in (torch.float32, torch.bfloat16):
        models = [make_model(method, seed, torch.float32) for seed in SEEDS]
        for model in models:
            set_precision(model, precision)
        folder = tmp_path / str(precision)
        folder.mkdir()
        histories.append(fit(Together(models), SEEDS, rows, folder))
    for exact, close in zip(*histories, strict=True):
        assert not exact.equals(close)
        np.testing.assert_allclose(close, exact, rtol=0.05)


def test_a_resumed_group_equals_an_uninterrupted_one(method, tmp_path):
    rows = make_rows(len(SEEDS))
    (tmp_path / "b").mkdir()

    def group():
        return Together([make_model(method, seed, torch.float32) for seed in SEEDS])

    whole, resumed = group(), group()
    histories = fit(whole, SEEDS, rows, tmp_path, epochs=4)
    fit(group(), SEEDS, rows, tmp_path / "b", epochs=2)
    again = fit(resumed, SEEDS, rows, tmp_path / "b", epochs=4)
    for name, expected in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], expected)
    assert all(a.equals(b) for a, b in zip(histories, again, strict=True))


def test_models_of_a_group_are_copies_with_the_layers_of_the_method(method):
    models = [make_model(method, seed, torch.float32) for seed in SEEDS]
    for model, made in zip(models, Together(models).models(), strict=True):
        expected, found = model.state_dict(), made.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    made.encoder.blocks[0].weight.data.zero_()
    assert models[-1].encoder.blocks[0].weight.abs().max() > 0


def test_randomness_within_a_loss_is_refused(monkeypatch):
    """A loss that draws by itself would not know which numbers are whose."""
    model = make_model("ae", 0)
    original = type(model).loss

    def careless(self, images, noise):
        return original(self, images + torch.randn_like(images), noise)

    monkeypatch.setattr(type(model), "loss", careless)
    with pytest.raises(RuntimeError, match="random"):
        Together([model]).loss(torch.zeros(1, 4, 2, 16, 16, dtype=torch.float64), None)


def test_an_epoch_names_the_seed_whose_loss_is_not_finite():
    models = [make_model("ae", seed, torch.float32) for seed in SEEDS]
    models[1].decoder.blocks[-1].weight.data.fill_(float("nan"))
    group = Together(models)
    stepper = Stepper(group, torch.optim.Adam(group.parameters()), make_images())
    with pytest.raises(FloatingPointError, match=f"epoch 1, batch 1 of 4, seed {SEEDS[1]}"):
        train_epoch(stepper, make_rows(3), batch_size=4, seeds=SEEDS, epoch=0)
