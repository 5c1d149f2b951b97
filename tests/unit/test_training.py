"""Training and scoring: determinism, resuming, faults, and what scoring must not change."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medae import methods
from medae.checkpoints import load_checkpoint, load_tensors, save_checkpoint
from medae.errors import InputError
from medae.scoring import score_batches
from medae.torch_setup import epoch_generators, make_deterministic, seed_everything, select_device
from medae.training import batches, normalise, train

CPU = torch.device("cpu")
SIZES = {"image_size": 16, "channels": 1, "latent_dim": 2, "width": 4, "hidden_dim": 8}


@pytest.fixture(autouse=True)
def deterministic():
    make_deterministic(1)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=sorted(methods.REGISTRY))
def method(request):
    return request.param


def make_images(n=13):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), np.uint8))


def fit(folder, *, method="ae", epochs=3, seed=0, settings=None, images=None, **more):
    seed_everything(seed)
    sizes = SIZES | ({"mask_side": 3} if method == "ceae" else {})
    model = methods.build(method, **sizes).to(memory_format=torch.channels_last)
    arguments = {"batch_size": 4, "learning_rate": 1e-3, "save_seconds": 0} | more
    history = train(
        model,
        make_images() if images is None else images,
        epochs=epochs,
        seed=seed,
        settings=settings or {"name": "test"},
        state=folder / "resume.safetensors",
        **arguments,
    )
    return model, history


def equal(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_same_seed_gives_the_same_bits(method, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, history = fit(tmp_path / "a", method=method)
    second, again = fit(tmp_path / "b", method=method)
    assert equal(first, second)
    assert history.equals(again)


def test_another_seed_gives_another_model(method, tmp_path):
    (tmp_path / "b").mkdir()
    assert not equal(fit(tmp_path, method=method)[0], fit(tmp_path / "b", method=method, seed=1)[0])


def test_resumed_training_equals_an_uninterrupted_one(method, tmp_path):
    (tmp_path / "b").mkdir()
    whole, history = fit(tmp_path, method=method, epochs=4)
    fit(tmp_path / "b", method=method, epochs=2)
    resumed, again = fit(tmp_path / "b", method=method, epochs=4)
    assert equal(whole, resumed)
    assert history.equals(again)


def test_resuming_really_starts_from_the_state(tmp_path, monkeypatch):
    fit(tmp_path, epochs=2)
    epochs = []
    import medae.training as training

    original = training.train_epoch
    monkeypatch.setattr(
        training, "train_epoch", lambda *a, **k: epochs.append(k["epoch"]) or original(*a, **k)
    )
    fit(tmp_path, epochs=4)
    assert epochs == [2, 3]


@pytest.mark.parametrize("spoil", ["settings", "truncated", "empty", "text"])
def test_an_unusable_state_is_named_and_not_used(spoil, tmp_path, caplog):
    (tmp_path / "b").mkdir()
    whole, _ = fit(tmp_path, epochs=3)
    fit(tmp_path / "b", epochs=2, settings={"name": "other"} if spoil == "settings" else None)
    state = tmp_path / "b" / "resume.safetensors"
    content = state.read_bytes()
    spoilt = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"not a state"}
    state.write_bytes(spoilt.get(spoil, content))
    afresh, _ = fit(tmp_path / "b", epochs=3)
    assert equal(whole, afresh)
    assert "Starting afresh" in caplog.text
    assert str(state) in caplog.text


def test_loss_falls(tmp_path):
    _, history = fit(tmp_path, epochs=40, batch_size=13)
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert list(history["epoch"]) == list(range(1, 41))


def test_history_is_the_mean_over_images(tmp_path):
    # One batch that holds all images: the mean over images is the batch's own loss.
    _, history = fit(tmp_path, epochs=1, batch_size=13)
    seed_everything(0)
    model = methods.build("ae", **SIZES).to(memory_format=torch.channels_last)
    loss = model.loss(normalise(make_images()), torch.Generator())["loss"].item()
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)


def test_non_finite_loss_stops_with_epoch_and_batch(tmp_path, monkeypatch):
    from medae.methods.ae import AutoEncoder

    calls = []
    original = AutoEncoder.loss

    def poisoned(self, images, generator):
        calls.append(1)
        losses = original(self, images, generator)
        return {"loss": losses["loss"] * (float("nan") if len(calls) == 6 else 1.0)}

    monkeypatch.setattr(AutoEncoder, "loss", poisoned)
    with pytest.raises(InputError, match="epoch 2, batch 3 of 3"):
        fit(tmp_path)


@given(st.integers(2, 300), st.integers(2, 70))
def test_batches_hold_every_image_once_and_none_is_single(n, batch_size):
    parts = batches(torch.randperm(n), batch_size)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(n))
    assert all(len(part) >= 2 for part in parts)
    assert all(len(part) == batch_size for part in parts[:-1])
    assert len(parts[-1]) <= batch_size + 1


def test_a_single_image_cannot_be_trained_on():
    with pytest.raises(InputError, match="at least 2"):
        batches(torch.arange(1), 4)


def test_a_last_single_image_trains(tmp_path):
    fit(tmp_path, images=make_images(9), batch_size=4, epochs=1)


def test_normalise_by_hand():
    images = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    expected = [[[[-1.0, 1.0], [-0.6, 0.6]]]]
    np.testing.assert_allclose(normalise(images).numpy(), expected, atol=1e-6)


def test_epoch_generators_differ_by_seed_and_epoch():
    draws = {
        tuple(torch.randperm(50, generator=epoch_generators(seed, epoch, CPU)[0]).tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(draws) == 9


def test_auto_device_is_there_and_a_missing_one_is_named():
    assert select_device("auto").type in {"cuda", "mps", "cpu"}
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="'cuda'"):
            select_device("cuda")


# --- checkpoints ---------------------------------------------------------------------------------


def trained_checkpoint(folder, method="ae"):
    model, _ = fit(folder, method=method)
    arguments = SIZES | ({"mask_side": 3} if method == "ceae" else {})
    path = folder / "checkpoint.safetensors"
    save_checkpoint(path, model, {"method": method, "arguments": arguments, "seed": 0})
    return model, path


def test_checkpoint_rebuilds_its_model(method, tmp_path):
    model, path = trained_checkpoint(tmp_path, method)
    loaded, description = load_checkpoint(path, CPU)
    assert equal(model, loaded)
    assert not loaded.training
    assert description["method"] == method


def test_checkpoint_bytes_repeat(tmp_path):
    _, path = trained_checkpoint(tmp_path)
    first = path.read_bytes()
    _, path = trained_checkpoint(tmp_path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_damaged_checkpoint_is_refused_by_name(content, tmp_path):
    _, path = trained_checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors is not a whole checkpoint"):
        load_tensors(path)


def test_checkpoint_of_another_shape_is_refused(tmp_path):
    model, path = trained_checkpoint(tmp_path)
    save_checkpoint(path, model, {"method": "ae", "arguments": SIZES | {"latent_dim": 5}})
    with pytest.raises(InputError, match="does not fit"):
        load_checkpoint(path, CPU)


# --- scoring -------------------------------------------------------------------------------------


def scores_of(model, images, batch_size):
    parts = list(score_batches(model, images, batch_size=batch_size, device=CPU))
    names = ("scores", "maps", "latents", "reconstructions")
    return {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}


def test_scores_do_not_depend_on_batch_size_or_order(method, tmp_path):
    model, path = trained_checkpoint(tmp_path, method)
    model, _ = load_checkpoint(path, CPU)
    images = make_images().numpy()
    whole = scores_of(model, images, 13)
    for batch_size in (1, 4, 64):
        part = scores_of(model, images, batch_size)
        np.testing.assert_allclose(part["scores"], whole["scores"], rtol=1e-5)
        np.testing.assert_allclose(part["maps"], whole["maps"], rtol=1e-3, atol=1e-5)
    order = np.random.default_rng(1).permutation(13)
    np.testing.assert_allclose(
        scores_of(model, images[order], 4)["scores"], whole["scores"][order], rtol=1e-5
    )


def test_scoring_leaves_the_model_alone(method, tmp_path):
    _, path = trained_checkpoint(tmp_path, method)
    model, _ = load_checkpoint(path, CPU)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scores_of(model, make_images().numpy(), 4)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_scoring_in_training_mode_is_refused(tmp_path):
    model, _ = trained_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="evaluation mode"):
        scores_of(model.train(), make_images().numpy(), 4)


def test_score_by_hand(tmp_path):
    _, path = trained_checkpoint(tmp_path)
    model, _ = load_checkpoint(path, CPU)
    images = make_images(3).numpy()
    found = scores_of(model, images, 3)
    squared = (images / 127.5 - 1 - found["reconstructions"]) ** 2
    np.testing.assert_allclose(found["maps"], squared[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["scores"], squared.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_map_of_a_colour_image_is_the_mean_over_channels():
    from medae.scoring import anomaly_map

    images = torch.zeros(1, 3, 1, 1)
    reconstruction = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    assert anomaly_map(images, reconstruction).item() == pytest.approx((1 + 4 + 16) / 3)
