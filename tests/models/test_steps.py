"""Training steps with a recording: it is used only where it does the same, bit for bit.

There is no GPU in the tests, so the recording itself is replaced by functions on the CPU.
"""

from unittest.mock import MagicMock, Mock

import pytest
import torch
from small_models import equal, make_images, make_model, step_through

from medae.base.errors import InputError
from medae.models import steps
from medae.models.steps import Stepper


def nudging(step, *seen):
    def replay(*new):
        result = step(*new)
        with torch.no_grad():
            next(step.__self__.model.parameters()).view(-1)[0] += 1e-6
        return result

    return replay


@pytest.mark.parametrize(
    "record", [nudging, lambda step, *seen: lambda *new: step(*seen)], ids=["nudges", "repeats"]
)
def test_a_recording_that_does_something_else_is_not_used(record, monkeypatch, caplog):
    monkeypatch.setattr(steps, "record", record)
    (model, losses), (plain, expected) = (step_through("vae", records=r) for r in (True, False))
    assert equal(model, plain) and losses == expected
    assert "without a CUDA graph, which is slower" in caplog.text


def test_a_loss_that_is_nan_is_not_blamed_on_the_recording(monkeypatch, caplog):
    monkeypatch.setattr(steps, "record", lambda step, *seen: step)
    with pytest.raises(FloatingPointError):
        step_through("vae", records=True, spoil=float("nan"))
    assert "CUDA graph" not in caplog.text


def test_what_cannot_be_recorded_ends_the_training_with_what_to_do(monkeypatch):
    def fails(step, *seen):
        step(*seen)  # a part of it has been done by then
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(steps, "record", fails)
    with pytest.raises(InputError, match="capturing. Set .training: {cuda_graphs: false}"):
        step_through("vae", records=True)


def test_only_cuda_records():
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters())
    assert not Stepper(model, optimizer, make_images())._may_record
    on_cuda = Mock(device=torch.device("cuda"))
    assert Stepper(model, optimizer, on_cuda)._may_record
    assert not Stepper(model, optimizer, on_cuda, cuda_graphs=False)._may_record


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

    def step(rows, noise):
        calls.append("step")
        seen[:] = [rows, noise]
        return result

    rows, noise = torch.tensor([1, 2]), torch.tensor([0.5])
    replay = steps.record(step, rows, noise)
    assert calls == ["step"] * steps.WARM_UP + ["begin", "step", "end"]
    capture.assert_called_once_with(graph)
    found = replay(torch.tensor([3, 4]), torch.tensor([0.25]))
    assert calls[-1] == "replay"
    assert seen[0].tolist() == [3, 4] and seen[1].tolist() == [0.25]
    assert rows.tolist() == [1, 2] and noise.tolist() == [0.5]
    result.fill_(2.0)  # the next replay overwrites what the graph wrote
    assert found.item() == 1.0
    assert replay(rows, noise).item() == 2.0
    assert steps.record(lambda rows, noise: rows * 2, rows, None)(rows, None).tolist() == [2, 4]
