"""Training: the loop, its state, stops, and what happens when memory runs out."""

import weakref
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import (
    CPU,
    equal,
    fit,
    fit_all,
    make_images,
    make_model,
    make_training,
    stop_at,
)

from medae.base.errors import InputError
from medae.models import steps, training
from medae.models.checkpoints import load_tensors
from medae.models.methods.ae import AutoEncoder
from medae.models.steps import Stepper
from medae.models.torch_setup import select_device, to_device
from medae.models.training import Member, batches

# --- the loop ---


def test_loss_falls(tmp_path):
    _, history = fit(tmp_path, epochs=40, batch_size=13)
    assert history["loss"].iloc[-1] < 0.7 * history["loss"].iloc[0]
    assert list(history["epoch"]) == list(range(1, 41))


def test_history_weighs_batches_by_their_images(tmp_path, monkeypatch):
    original = AutoEncoder.loss

    def of_size(self, images, noise):
        return {"loss": original(self, images, noise)["loss"] * 0 + len(images)}

    monkeypatch.setattr(AutoEncoder, "loss", of_size)
    _, history = fit(tmp_path, epochs=1, batch_size=4, images=make_images(10))
    assert history["loss"][0] == pytest.approx((4 * 4 + 4 * 4 + 2 * 2) / 10)


@given(st.integers(2, 300), st.integers(2, 70))
def test_batches_hold_every_image_once_and_none_is_single(n, batch_size):
    parts = batches(torch.randperm(n), batch_size)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(n))
    sizes = [len(part) for part in parts]
    assert min(sizes) >= 2
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] <= batch_size + 1
    with pytest.raises(InputError, match="has 1 image.* at least 2"):
        batches(torch.arange(1), batch_size)


def test_each_seed_and_epoch_has_its_own_order_and_noise(tmp_path):
    members = {
        seed: Member(
            make_training(tmp_path / str(seed), method="vae", seed=seed),
            make_images(),
            batch_size=13,
            learning_rate=1e-3,
        )
        for seed in (0, 1)
    }
    seen = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0), (0, 0)]:
        members[seed].history = [{}] * epoch
        ((rows, noise),) = members[seed].batches()
        seen.append((*rows.tolist(), *noise.flatten().tolist()))
    assert seen[0] == seen[3]
    assert len({order_and_noise[:13] for order_and_noise in seen}) == 3
    assert len({order_and_noise[13:] for order_and_noise in seen}) == 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_device_that_is_missing_is_named():
    with pytest.raises(InputError, match="'cuda'"):
        select_device("cuda")


# --- several at once ---


def company(folder):
    """Trainings of other methods, seeds and numbers of images, whose epochs differ in length."""
    return [
        make_training(folder / "a", method="vae", seed=1),
        make_training(folder / "b", method="ae", seed=0, n=9),
        make_training(folder / "c", method="memae", seed=2),
    ]


@pytest.mark.parametrize("at_once", [2, 3])
def test_a_model_is_the_same_in_any_company(at_once, tmp_path):
    with pytest.raises(InputError):  # one of them is resumed
        fit_all(company(tmp_path / "together")[1:2], stop=stop_at(2))
    together = fit_all(company(tmp_path / "together"), at_once=at_once)
    alone = fit_all(company(tmp_path / "alone"))
    for one, other in zip(together, alone, strict=True):
        assert equal(one.model, other.model)
        assert one.history.equals(other.history)


def test_a_loss_that_is_not_finite_ends_its_model_and_no_other(tmp_path, monkeypatch):
    calls, original = [], AutoEncoder.loss

    def poisoned(self, images, noise):
        calls.append(1)
        losses = original(self, images, noise)
        return {"loss": losses["loss"] * (float("nan") if len(calls) == 4 else 1.0)}

    expected = fit_all(company(tmp_path / "before"))
    monkeypatch.setattr(AutoEncoder, "loss", poisoned)
    with pytest.raises(InputError, match="not finite at epoch 2, batch 2 of 2, seed 0") as caught:
        fit_all(company(tmp_path), at_once=3)
    assert "seed 1" not in str(caught.value) and "seed 2" not in str(caught.value)
    tensors, state = load_tensors(tmp_path / "b" / "resume.safetensors")  # of the epoch before
    assert len(state["history"]) == 1 and all(value.isfinite().all() for value in tensors.values())
    for place in (0, 2):  # what has come to its end is taken from its state
        (found,) = fit_all(company(tmp_path)[place : place + 1])
        assert equal(found.model, expected[place].model)
        assert found.history.equals(expected[place].history)


def test_snapshots_are_the_weights_of_a_training_that_ended_there(tmp_path):
    shorter, _ = fit(tmp_path / "a", epochs=2)
    training = make_training(tmp_path / "b")
    with pytest.raises(InputError):
        fit_all([training], epochs=4, snapshots=[2, 3, 4], stop=stop_at(4))
    (found,) = fit_all([training], epochs=4, snapshots=[2, 3, 4])  # resumed: 2 is in the state
    assert list(found.snapshots) == [2, 3, 4]
    weights = shorter.state_dict()
    assert all(torch.equal(found.snapshots[2][name], weights[name]) for name in weights)


# --- its state ---


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_training_that_is_told_to_stop_goes_on_from_its_state(done, tmp_path, monkeypatch):
    whole, history = fit(tmp_path / "a", method="vae", epochs=4)
    options = {"method": "vae", "epochs": 4}
    with pytest.raises(InputError, match=f"SIGTERM after epoch {done} of 4.*resume.*goes on"):
        fit(tmp_path / "b", save_seconds=1e9, stop=stop_at(done + 1), **options)
    state = tmp_path / "b" / "resume.safetensors"
    assert len(load_tensors(state)[1]["history"]) == done
    epochs, original = [], training.train_epoch

    def train_epoch(members, stepper):
        epochs.append(len(members[0].history))
        original(members, stepper)

    monkeypatch.setattr(training, "train_epoch", train_epoch)
    for _ in range(2):  # the second time nothing is left to train
        resumed, again = fit(tmp_path / "b", **options)
        assert epochs == [*range(done, 4)]
        assert equal(whole, resumed) and history.equals(again)


SETTINGS = {"name": "test", "epochs": 40, "code_sha256": "a", "training": {"batch_size": 8}}
SPOILT = {
    "settings": "epochs: 50 there, 40 now; training.batch_size: 4 there, 8 now",
    "code": "settings or other code (the code)",
    "cut": "not a whole checkpoint",
}


@pytest.mark.parametrize(("spoil", "reason"), SPOILT.items())
def test_an_unusable_state_is_named_with_the_reason_and_not_used(spoil, reason, tmp_path, caplog):
    whole, _ = fit(tmp_path / "a", settings=SETTINGS, unusable_state="stop")
    assert caplog.text == ""
    other = {"epochs": 50, "training": {"batch_size": 4}} if spoil == "settings" else {}
    other |= {"code_sha256": "b"} if spoil == "code" else {}
    with pytest.raises(InputError, match="stopped by"):
        fit(tmp_path / "b", settings=SETTINGS | other, stop=stop_at(3))
    state = tmp_path / "b" / "resume.safetensors"
    if spoil == "cut":
        state.write_bytes(state.read_bytes()[:-100])
    before = state.read_bytes()
    with pytest.raises(InputError) as caught:
        fit(state.parent, settings=SETTINGS, unusable_state="stop")
    assert str(state) in str(caught.value) and reason in str(caught.value)
    assert "training.unusable_state" in str(caught.value)
    assert state.read_bytes() == before
    again, history = fit(state.parent, settings=SETTINGS)
    assert equal(whole, again) and len(history) == 3
    assert "Starting from scratch" in caplog.text and "Resuming" not in caplog.text
    assert str(state) in caplog.text and reason in caplog.text


def test_the_state_of_a_finished_training_with_other_settings_is_no_fault(tmp_path, caplog):
    fit(tmp_path, settings=SETTINGS | {"epochs": 50})
    model, _ = fit(tmp_path, settings=SETTINGS, unusable_state="stop")
    assert caplog.text == ""
    assert equal(model, fit(tmp_path / "b", settings=SETTINGS)[0])


# --- memory ---


def too_many(monkeypatch, largest, error=None, after=0):
    """Let losses of more than `largest` images fail once `after` steps are done."""
    error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    original, steps = AutoEncoder.loss, []

    def loss(self, images, noise):
        steps.append(len(images))
        if len(images) > largest and len(steps) > after:
            raise error
        return original(self, images, noise)

    monkeypatch.setattr(AutoEncoder, "loss", loss)
    return steps


def fit_within_memory(*folders, **more):
    """Train on 12 images, in batches of 8 if memory allows."""
    trainings = [make_training(folder, n=12, seed=i) for i, folder in enumerate(folders)]
    return fit_all(trainings, images=make_images(12), batch_size=8, **more)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError(
            "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
        ),
    ],
)
def test_out_of_memory_starts_again_with_half_the_batch(error, tmp_path, monkeypatch, caplog):
    expected, history = fit(tmp_path / "b", batch_size=2, images=make_images(12))
    too_many(monkeypatch, 3, error)
    ((model, again, used, *_),) = fit_within_memory(tmp_path)
    assert used == 2
    assert "phantom ae seed=0: out of memory with batches of 8 images; now 4" in caplog.text
    assert "now 2" in caplog.text
    assert equal(model, expected) and history.equals(again)


def test_out_of_memory_after_a_state_was_saved_leaves_nothing_of_it(tmp_path, monkeypatch):
    expected, history = fit(tmp_path / "b", batch_size=4, images=make_images(12))
    steps = too_many(monkeypatch, 4, after=2)
    ((model, again, used, *_),) = fit_within_memory(tmp_path)
    assert steps[:3] == [8, 4, 8] and used == 4
    assert equal(model, expected) and history.equals(again)


def test_a_state_is_resumed_with_its_own_batch_size(tmp_path, monkeypatch, caplog):
    too_many(monkeypatch, 4)
    ((whole, history, *_),) = fit_within_memory(tmp_path)
    (tmp_path / "resume.safetensors").unlink()
    with pytest.raises(InputError, match="stopped by"):
        fit_within_memory(tmp_path, stop=stop_at(4))
    caplog.clear()
    ((resumed, again, used, *_),) = fit_within_memory(tmp_path)
    assert used == 4
    assert equal(whole, resumed) and history.equals(again)
    assert "out of memory" not in caplog.text


def test_two_images_that_do_not_fit_into_memory_say_so(tmp_path, monkeypatch):
    too_many(monkeypatch, 1)
    with pytest.raises(InputError, match="out of memory even with 2 .*training.device"):
        fit_within_memory(tmp_path)
    assert not (tmp_path / "resume.safetensors").exists()


def test_models_that_did_not_fit_are_gone_before_fewer_are_tried(tmp_path, monkeypatch, caplog):
    """Even where memory ran out in a recording. Fewer at once come before a smaller batch."""

    class Recording(Stepper):
        def __init__(self, trainees, **_):
            super().__init__(trainees)
            self._may_record = len(trainees) > 1

    def record(taken, seen):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    built, alive = [], []

    def build(seed):
        model = make_model(seed=seed)
        built.append(weakref.ref(model))
        return model

    def count():
        alive.append(sum(model() is not None for model in built))

    monkeypatch.setattr(training, "Stepper", Recording)
    monkeypatch.setattr(steps, "record", record)
    monkeypatch.setattr(torch.cuda, "empty_cache", count)
    trainings = [
        make_training(tmp_path / str(seed), seed=seed)._replace(build=partial(build, seed))
        for seed in range(3)
    ]
    expected = fit_all([make_training(tmp_path / f"alone{seed}", seed=seed) for seed in range(3)])
    found = fit_all(trainings, at_once=3)
    assert (len(built), alive) == (6, [0])
    assert "out of memory with 3 models at once; now 1." in caplog.text
    assert "batches of" not in caplog.text
    for one, other in zip(found, expected, strict=True):
        assert equal(one.model, other.model) and one.batch_size == 4


def test_another_error_of_torch_is_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    too_many(monkeypatch, 1, RuntimeError("shape"))
    with pytest.raises(RuntimeError, match="shape"):
        fit_within_memory(tmp_path)


def test_images_that_do_not_fit_into_memory_say_so(monkeypatch):
    def to(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.Tensor, "to", to)
    with pytest.raises(InputError, match="13 images .* do not fit"):
        to_device(make_images().numpy(), CPU)
