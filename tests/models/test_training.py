"""Training and scoring: determinism, resuming, faults, and what scoring must not change."""

import numpy as np
import pytest
import torch
from drawn_losses import drawn_losses
from hypothesis import given
from hypothesis import strategies as st

from medae.base.errors import InputError
from medae.models import methods
from medae.models.checkpoints import load_checkpoint, load_tensors, save_checkpoint
from medae.models.networks import normalise, set_precision
from medae.models.scoring import score_batches
from medae.models.seed_groups import Alone
from medae.models.torch_setup import (
    epoch_generators,
    make_deterministic,
    seed_everything,
    select_device,
    to_device,
)
from medae.models.training import batches, train, train_within_memory

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


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def precision(request):
    return request.param


def make_images(n=13):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 1, 16, 16), np.uint8))


def fit(folder, *, method="ae", epochs=3, seed=0, settings=None, images=None, **more):
    seed_everything(seed)
    precision = more.pop("precision", torch.float32)
    sizes = SIZES | ({"mask_side": 3} if method == "ceae" else {})
    model = methods.build(method, **sizes).to(memory_format=torch.channels_last)
    set_precision(model, precision)
    images = make_images() if images is None else images
    arguments = {"batch_size": 4, "learning_rate": 1e-3, "save_seconds": 0} | more
    (history,), _ = train(
        Alone(model),
        images,
        torch.arange(len(images))[None],
        epochs=epochs,
        seeds=[seed],
        settings=settings or {"name": "test"},
        state=folder / "resume.safetensors",
        **arguments,
    )
    return model, history


def equal(first, second):
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_same_seed_gives_the_same_bits(method, precision, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, history = fit(tmp_path / "a", method=method, precision=precision)
    second, again = fit(tmp_path / "b", method=method, precision=precision)
    assert equal(first, second)
    assert history.equals(again)


def test_another_seed_gives_another_model(method, tmp_path):
    (tmp_path / "b").mkdir()
    assert not equal(fit(tmp_path, method=method)[0], fit(tmp_path / "b", method=method, seed=1)[0])


def test_resumed_training_equals_an_uninterrupted_one(method, precision, tmp_path):
    (tmp_path / "b").mkdir()
    whole, history = fit(tmp_path, method=method, epochs=4, precision=precision)
    fit(tmp_path / "b", method=method, epochs=2, precision=precision)
    resumed, again = fit(tmp_path / "b", method=method, epochs=4, precision=precision)
    assert equal(whole, resumed)
    assert history.equals(again)


def test_bfloat16_is_of_the_networks_alone(method, tmp_path):
    """Weights, gradients, latents and losses stay float32, and the losses come out close."""
    (tmp_path / "b").mkdir()
    model, exact = fit(tmp_path, method=method)
    lower, close = fit(tmp_path / "b", method=method, precision=torch.bfloat16)
    assert not equal(model, lower)
    assert np.allclose(close, exact, rtol=0.02)
    losses = drawn_losses(lower, normalise(make_images()))
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert lower.encode(normalise(make_images())).dtype == torch.float32
    losses["loss"].backward()
    assert {p.grad.dtype for p in lower.parameters()} == {torch.float32}


def test_resuming_really_starts_from_the_state(tmp_path, monkeypatch):
    fit(tmp_path, epochs=2)
    epochs = []
    import medae.models.training as training

    original = training.train_epoch
    monkeypatch.setattr(
        training, "train_epoch", lambda *a, **k: epochs.append(k["epoch"]) or original(*a, **k)
    )
    fit(tmp_path, epochs=4)
    assert epochs == [2, 3]


def stop_at(check):
    """A `stop` that names a signal when it is asked for the `check`-th time."""
    asked = []
    return lambda: "SIGTERM" if asked.append(1) or len(asked) == check else None


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_training_that_is_told_to_stop_ends_with_the_same_weights(done, method, tmp_path):
    (tmp_path / "b").mkdir()
    whole, history = fit(tmp_path, method=method, epochs=4)
    with pytest.raises(InputError, match=f"SIGTERM after epoch {done} of 4.*resume.*goes on"):
        fit(tmp_path / "b", method=method, epochs=4, save_seconds=1e9, stop=stop_at(done + 1))
    state = tmp_path / "b" / "resume.safetensors"
    assert len(load_tensors(state)[1]["history"]) == done
    resumed, again = fit(tmp_path / "b", method=method, epochs=4)
    assert equal(whole, resumed)
    assert history.equals(again)


SETTINGS = {"name": "test", "epochs": 40, "code_sha256": "a", "training": {"batch_size": 8}}


def spoilt_state(folder, spoil):
    """A state after 2 epochs, of SETTINGS and whole but for `spoil`."""
    other = {"epochs": 50, "training": {"batch_size": 4}} if spoil == "settings" else {}
    other |= {"code_sha256": "b"} if spoil == "code" else {}
    fit(folder, epochs=2, settings=SETTINGS | other)
    state = folder / "resume.safetensors"
    content = state.read_bytes()
    flipped = bytearray(content)
    flipped[-100] ^= 1
    spoilt = {"truncated": content[: len(content) // 2], "empty": b"", "text": b"not a state"}
    state.write_bytes((spoilt | {"flipped": flipped}).get(spoil, content))
    return state


SPOILT = {
    "settings": "epochs: 50 there, 40 now; training.batch_size: 4 there, 8 now",
    "code": "settings or other code (the code)",
    "truncated": "not a whole checkpoint",
    "empty": "not a whole checkpoint",
    "text": "not a whole checkpoint",
    "flipped": "its contents do not match its check sum",
}


@pytest.mark.parametrize(("spoil", "reason"), SPOILT.items())
def test_an_unusable_state_is_named_with_the_reason_and_not_used(spoil, reason, tmp_path, caplog):
    (tmp_path / "b").mkdir()
    whole, _ = fit(tmp_path, epochs=3, settings=SETTINGS)
    state = spoilt_state(tmp_path / "b", spoil)
    afresh, history = fit(tmp_path / "b", epochs=3, settings=SETTINGS)
    assert equal(whole, afresh)
    assert len(history) == 3
    assert "Starting afresh" in caplog.text and "Resuming" not in caplog.text
    assert str(state) in caplog.text and reason in caplog.text


@pytest.mark.parametrize(("spoil", "reason"), SPOILT.items())
def test_an_unusable_state_stops_the_training_where_configured(spoil, reason, tmp_path):
    state = spoilt_state(tmp_path, spoil)
    before = state.read_bytes()
    with pytest.raises(InputError) as caught:
        fit(tmp_path, settings=SETTINGS, unusable_state="stop")
    assert str(state) in str(caught.value) and reason in str(caught.value)
    assert "training.unusable_state" in str(caught.value)
    assert state.read_bytes() == before


def test_without_a_state_training_starts_silently(tmp_path, caplog):
    fit(tmp_path, unusable_state="stop")
    assert "afresh" not in caplog.text


# --- memory --------------------------------------------------------------------------------------


def fit_within_memory(folder, largest, *, monkeypatch, error=None, **more):
    """Train with batches of 8 where more than `largest` images at a time are too many."""
    from medae.models.methods.ae import AutoEncoder

    error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    original = AutoEncoder.loss

    def loss(self, images, noise):
        if len(images) > largest:
            raise error
        return original(self, images, noise)

    def build():
        seed_everything(0)
        return Alone(methods.build("ae", **SIZES).to(memory_format=torch.channels_last))

    monkeypatch.setattr(AutoEncoder, "loss", loss)
    arguments = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "seeds": [0], "settings": {}}
    arguments |= {"state": folder / "resume.safetensors", "label": "phantom ae", "save_seconds": 0}
    rows = torch.arange(12)[None]
    group, (history,), used = train_within_memory(build, make_images(12), rows, **arguments | more)
    return group.model, history, used


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_out_of_memory_trains_afresh_with_half_the_batch(error, tmp_path, monkeypatch, caplog):
    (tmp_path / "b").mkdir()
    model, history, used = fit_within_memory(tmp_path, 3, monkeypatch=monkeypatch, error=error)
    assert used == 2
    assert "phantom ae: out of memory with batches of 8 images; now 4" in caplog.text
    assert "now 2" in caplog.text
    monkeypatch.undo()
    expected, same_history = fit(tmp_path / "b", batch_size=2, images=make_images(12))
    assert equal(model, expected)
    assert history.equals(same_history)


def test_out_of_memory_after_a_state_was_saved_leaves_nothing_of_it(tmp_path, monkeypatch):
    from medae.models.methods.ae import AutoEncoder

    (tmp_path / "b").mkdir()
    expected, history = fit(tmp_path / "b", batch_size=4, images=make_images(12))
    steps = []
    original = AutoEncoder.loss

    def loss(self, images, noise):
        steps.append(len(images))
        if len(images) > 4 and len(steps) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, images, noise)

    monkeypatch.setattr(AutoEncoder, "loss", loss)
    model, again, used = fit_within_memory(tmp_path, 8, monkeypatch=monkeypatch)
    assert steps[:3] == [8, 4, 8] and used == 4
    assert equal(model, expected) and history.equals(again)


def test_a_state_is_resumed_with_its_own_batch_size(tmp_path, monkeypatch, caplog):
    whole, history, _ = fit_within_memory(tmp_path, 4, monkeypatch=monkeypatch)
    (tmp_path / "resume.safetensors").unlink()
    fit_within_memory(tmp_path, 4, monkeypatch=monkeypatch, epochs=1)
    caplog.clear()
    resumed, again, used = fit_within_memory(tmp_path, 4, monkeypatch=monkeypatch)
    assert used == 4
    assert equal(whole, resumed) and history.equals(again)
    assert "out of memory" not in caplog.text


def test_two_images_that_do_not_fit_into_memory_say_so(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="out of memory even with 2 .*training.device"):
        fit_within_memory(tmp_path, 1, monkeypatch=monkeypatch)
    assert not (tmp_path / "resume.safetensors").exists()


def test_another_error_of_torch_is_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="shape"):
        fit_within_memory(tmp_path, 1, monkeypatch=monkeypatch, error=RuntimeError("shape"))


def test_images_that_do_not_fit_into_memory_say_so(monkeypatch):
    def to(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.Tensor, "to", to)
    with pytest.raises(InputError, match="13 images .* do not fit"):
        to_device(make_images().numpy(), CPU)


# --- the loop ------------------------------------------------------------------------------------


def test_loss_falls(tmp_path):
    _, history = fit(tmp_path, epochs=40, batch_size=13)
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert list(history["epoch"]) == list(range(1, 41))


def test_history_is_the_mean_over_images(tmp_path):
    # One batch that holds all images: the mean over images is the batch's own loss.
    _, history = fit(tmp_path, epochs=1, batch_size=13)
    seed_everything(0)
    model = methods.build("ae", **SIZES).to(memory_format=torch.channels_last)
    loss = drawn_losses(model, normalise(make_images()))["loss"].item()
    assert history["loss"][0] == pytest.approx(loss, rel=1e-5)


def test_non_finite_loss_stops_with_epoch_and_batch(tmp_path, monkeypatch):
    from medae.models.methods.ae import AutoEncoder

    calls = []
    original = AutoEncoder.loss

    def poisoned(self, images, noise):
        calls.append(1)
        losses = original(self, images, noise)
        return {"loss": losses["loss"] * (float("nan") if len(calls) == 6 else 1.0)}

    monkeypatch.setattr(AutoEncoder, "loss", poisoned)
    with pytest.raises(InputError, match="epoch 2, batch 3 of 3, seed 0"):
        fit(tmp_path)


@given(st.integers(2, 300), st.integers(2, 70), st.integers(1, 3))
def test_batches_hold_every_image_once_and_none_is_single(n, batch_size, members):
    parts = batches(torch.stack([torch.randperm(n) for _ in range(members)]), batch_size)
    for order in torch.cat(parts, dim=1):
        assert torch.equal(order.sort().values, torch.arange(n))
    sizes = [part.shape[1] for part in parts]
    assert min(sizes) >= 2
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] <= batch_size + 1


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


@pytest.mark.parametrize("largest", [5, 1])
def test_out_of_memory_in_scoring_goes_on_with_smaller_batches(
    largest, tmp_path, monkeypatch, caplog
):
    from medae.models.methods.ae import AutoEncoder

    _, path = trained_checkpoint(tmp_path)
    model, _ = load_checkpoint(path, CPU)
    images = make_images().numpy()
    whole = scores_of(model, images, 8)
    original = AutoEncoder.decode

    def decode(self, latents):
        if len(latents) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, latents)

    monkeypatch.setattr(AutoEncoder, "decode", decode)
    found = scores_of(model, images, 8)
    assert "Scoring: out of memory with batches of 8 images; now 4." in caplog.text
    for name, values in whole.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-3, atol=1e-5)
    monkeypatch.setattr(AutoEncoder, "decode", lambda *_: decode(model, [0] * 9))
    with pytest.raises(InputError, match="even with 1"):
        scores_of(model, images, 8)


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
    from medae.models.scoring import anomaly_map

    images = torch.zeros(1, 3, 1, 1)
    reconstruction = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    assert anomaly_map(images, reconstruction).item() == pytest.approx((1 + 4 + 16) / 3)
