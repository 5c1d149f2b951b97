"""Training steps with a recording: it is used only where it does the same, bit for bit.

There is no GPU in the tests, so the recording itself is replaced by functions on the CPU.
"""

from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
import torch

from medae.base.errors import InputError
from medae.models import methods, steps
from medae.models.seed_groups import Alone, make_group
from medae.models.steps import Stepper
from medae.models.torch_setup import make_deterministic, seed_everything
from medae.models.training import train_epoch

SIZES = {"image_size": 16, "channels": 1, "latent_dim": 2, "width": 4, "hidden_dim": 8}
SEEDS = [0, 1]
ROWS = torch.arange(14).expand(2, -1)  # 14 images: batches of 4, 4, 4, 2


@pytest.fixture(autouse=True)
def deterministic():
    make_deterministic(1)
    yield
    torch.use_deterministic_algorithms(False)


class Recording:
    """Stands in for a CUDA graph: warms up, then repeats the step on buffers of its own."""

    def __init__(self):
        self.recorded, self.replayed = [], 0
        self.fault = lambda group: None

    def __call__(self, step, batch, noise):
        self.recorded.append(batch.shape)
        buffers = batch.clone(), None if noise is None else noise.clone()
        for _ in range(steps.WARM_UP):
            step(*buffers)

        def replay(new_batch, new_noise):
            assert new_batch.shape == batch.shape
            self.replayed += 1
            buffers[0].copy_(new_batch)
            if noise is not None:
                buffers[1].copy_(new_noise)
            result = step(*buffers)
            self.fault(step.__self__.group)
            return result

        return replay


@pytest.fixture
def recording(monkeypatch):
    stand_in = Recording()
    monkeypatch.setattr(steps, "record", stand_in)
    return stand_in


def trained(*, records, method="vae", epochs=3, seeds=SEEDS, spoil=None):
    """Return the weights and losses of a group that is trained with or without a recording."""
    models = []
    for seed in seeds:
        seed_everything(seed)
        options = {"mask_side": 3} if method == "ceae" else {}
        models.append(methods.build(method, **SIZES, **options))
    if spoil is not None:
        next(models[0].parameters()).data.fill_(spoil)
    group = make_group(models)
    optimizer = torch.optim.Adam(group.parameters(), lr=1e-3, fused=True)
    pixels = np.random.default_rng(0).integers(0, 256, (14, 1, 16, 16), np.uint8)
    stepper = Stepper(group, optimizer, torch.from_numpy(pixels))
    stepper._may_record = records  # as on CUDA
    losses = [
        train_epoch(stepper, ROWS[: len(seeds)], batch_size=4, seeds=seeds, epoch=epoch)
        for epoch in range(epochs)
    ]
    return group.state_dict(), losses


def assert_same(first, second):
    assert first[1] == second[1]
    assert first[0].keys() == second[0].keys()
    assert all(torch.equal(first[0][name], second[0][name]) for name in first[0])


@pytest.mark.parametrize("seeds", [[0], SEEDS])
@pytest.mark.parametrize("method", sorted(methods.REGISTRY))
def test_a_recorded_training_equals_one_without(method, seeds, recording):
    plain = trained(records=False, method=method, seeds=seeds)
    assert recording.recorded == []
    assert_same(trained(records=True, method=method, seeds=seeds), plain)
    # Recorded at the second full batch; replayed once to compare, then for it and all full ones.
    assert recording.recorded == [(len(seeds), 4)]
    assert recording.replayed == 1 + 3 * 3 - 1


def nudge(group):
    with torch.no_grad():
        next(group.parameters()).view(-1)[0] += 1e-6


def test_a_recording_that_does_something_else_is_not_used(recording, caplog):
    recording.fault = nudge
    assert_same(trained(records=True), trained(records=False))
    assert "without a CUDA graph, which is slower" in caplog.text
    assert recording.replayed == 1


def test_a_recording_that_repeats_the_batch_it_saw_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(steps, "record", lambda step, *seen: lambda batch, noise: step(*seen))
    assert_same(trained(records=True), trained(records=False))
    assert "gives other weights" in caplog.text


def test_a_loss_that_is_nan_is_not_blamed_on_the_recording(recording, caplog):
    with pytest.raises(FloatingPointError):
        trained(records=True, spoil=float("nan"))
    assert "CUDA graph" not in caplog.text


def test_what_cannot_be_recorded_ends_the_training_with_what_to_do(monkeypatch):
    def fails(step, batch, noise):
        step(batch, noise)  # a part of it has been done by then
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(steps, "record", fails)
    with pytest.raises(InputError, match="capturing. Set .training: {cuda_graphs: false}"):
        trained(records=True)


def test_only_cuda_records():
    group = Alone(methods.build("ae", **SIZES))
    optimizer = torch.optim.Adam(group.parameters())
    assert not Stepper(group, optimizer, torch.zeros(4, 1, 16, 16))._may_record
    on_cuda = Mock(device=torch.device("cuda"))
    assert Stepper(group, optimizer, on_cuda)._may_record
    assert not Stepper(group, optimizer, on_cuda, cuda_graphs=False)._may_record


def test_a_recording_replays_on_what_it_is_given(monkeypatch):
    """With all of CUDA replaced: warm-up, one capture, then nothing but copies and replays."""
    calls, seen = [], []
    graph = Mock()
    graph.replay.side_effect = lambda: calls.append("replay")
    capture = MagicMock()
    capture.return_value.__enter__.side_effect = lambda: calls.append("begin")
    capture.return_value.__exit__.side_effect = lambda *_: calls.append("end")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    for name in ("Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    result = torch.tensor([1.0])

    def step(batch, noise):
        calls.append("step")
        seen[:] = [batch, noise]
        return result

    batch, noise = torch.tensor([[1, 2]]), torch.tensor([[0.5]])
    replay = steps.record(step, batch, noise)
    assert calls == ["step"] * steps.WARM_UP + ["begin", "step", "end"]
    capture.assert_called_once_with(graph)
    found = replay(torch.tensor([[3, 4]]), torch.tensor([[0.25]]))
    assert calls[-1] == "replay"
    assert seen[0].tolist() == [[3, 4]] and seen[1].tolist() == [[0.25]]
    assert batch.tolist() == [[1, 2]] and noise.tolist() == [[0.5]]
    result.fill_(2.0)  # the next replay overwrites what the graph wrote
    assert found.item() == 1.0
    assert replay(batch, noise).item() == 2.0


def test_a_recording_without_noise(monkeypatch):
    for name in ("CUDAGraph", "graph", "Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    replay = steps.record(lambda batch, noise: batch * 2, torch.tensor([1]), None)
    assert replay(torch.tensor([1]), None).tolist() == [2]
