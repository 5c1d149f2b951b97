"""Training steps with a recording: it is used only where it does the same, bit for bit.

Where there is no GPU the recording is replaced by functions on the CPU; tests/models/test_cuda.py
has the real one.
"""

from unittest.mock import MagicMock, Mock

import pytest
import torch
from small_models import equal, make_images, make_model, one_by_one, step_through

from medae.base.errors import InputError
from medae.models import steps
from medae.models.steps import Stepper, Trainee


def nudging(taken, seen):
    """Return a recording of which the last model comes out a bit different."""

    def replay(new):
        result = one_by_one(taken, new)
        with torch.no_grad():
            next(taken[-1].__self__.model.parameters()).view(-1)[0] += 1e-6
        return result

    return replay


def repeating(taken, seen):
    return lambda new: one_by_one(taken, seen)


@pytest.mark.parametrize("record", [nudging, repeating])
def test_a_recording_that_does_something_else_is_not_used(record, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(steps, "record", record)
    found = step_through(tmp_path / "a", "ae", "vae", records=True)
    for member in found:
        (plain,) = step_through(tmp_path / "b", member.training.label.split()[1], records=False)
        assert equal(member.trainee.model, plain.trainee.model)
        assert member.history == plain.history
    assert "without a CUDA graph, which is slower" in caplog.text


def test_batches_of_every_shape_are_recorded_when_they_come_again(monkeypatch, tmp_path):
    recorded = []

    def record(taken, seen):
        recorded.append([len(rows) for rows, _ in seen])
        return lambda new: one_by_one(taken, new)

    monkeypatch.setattr(steps, "record", record)
    found = step_through(tmp_path / "a", "ae", "vae", records=True)
    assert recorded == [[4, 4], [2, 2]]  # of 14 images
    for member in found:
        (plain,) = step_through(tmp_path / "b", member.training.label.split()[1], records=False)
        assert equal(member.trainee.model, plain.trainee.model)


def test_a_short_batch_that_cannot_be_trusted_ends_all_recordings(monkeypatch, caplog, tmp_path):
    replayed = []

    def record(taken, seen):
        if len(seen[0][0]) == 2:
            return nudging(taken, seen)
        return lambda new: replayed.append(1) or one_by_one(taken, new)

    monkeypatch.setattr(steps, "record", record)
    (found,) = step_through(tmp_path / "a", "ae", records=True)
    (plain,) = step_through(tmp_path / "b", "ae", records=False)
    assert equal(found.trainee.model, plain.trainee.model)
    assert len(replayed) == 1 + 2 + 3  # to compare, then until the second epoch ends
    assert "without a CUDA graph" in caplog.text


def test_a_loss_that_is_nan_is_not_blamed_on_the_recording(monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(steps, "record", lambda taken, seen: lambda new: one_by_one(taken, new))
    (member,) = step_through(tmp_path, "vae", records=True, spoil=float("nan"))
    assert "not finite at epoch 1, batch 1 of 4" in member.fault
    assert "CUDA graph" not in caplog.text


def failing(cause):
    def fails(taken, seen):
        one_by_one(taken, seen)  # a part of it has been done by then
        try:
            raise cause
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    return fails


def test_what_cannot_be_recorded_ends_the_training_with_what_to_do(monkeypatch, tmp_path):
    cause = RuntimeError("operation not permitted when stream is capturing\nmore lines")
    monkeypatch.setattr(steps, "record", failing(cause))
    with pytest.raises(InputError, match="capturing. Set .training: {cuda_graphs: false}"):
        step_through(tmp_path, "vae", records=True)


def test_a_recording_that_runs_out_of_memory_says_that(monkeypatch, tmp_path):
    monkeypatch.setattr(steps, "record", failing(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        step_through(tmp_path, "vae", "ae", records=True)


def test_only_cuda_records():
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters())
    assert not Stepper([Trainee(model, optimizer, make_images())])._may_record
    on_cuda = [Trainee(model, optimizer, Mock(device=torch.device("cuda")))]
    assert Stepper(on_cuda)._may_record
    assert not Stepper(on_cuda, cuda_graphs=False)._may_record


def test_a_recording_forks_a_stream_for_each_model_and_replays_on_what_it_is_given(monkeypatch):
    """With all of CUDA replaced: warm-up, one capture, then nothing but copies and replays."""
    calls = []
    graph = Mock()
    graph.replay.side_effect = lambda: calls.append("replay")
    capture = MagicMock()
    capture.return_value.__enter__.side_effect = lambda: calls.append("begin")
    capture.return_value.__exit__.side_effect = lambda *_: calls.append("end")
    here = Mock()
    here.wait_stream.side_effect = lambda stream: calls.append(f"join {stream.name}")

    def new_stream(number):
        stream = Mock()
        stream.name = "ab"[number]
        stream.wait_stream.side_effect = lambda other: calls.append(f"fork {stream.name}")
        return stream

    def within(stream):
        context = MagicMock()
        context.__enter__.side_effect = lambda *_: calls.append(f"on {stream.name}")
        return context

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(steps, "_stream", new_stream)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: here)
    results, seen = [torch.tensor([1.0]), torch.tensor([5.0])], {}

    def step(number):
        def take(rows, noise):
            calls.append(f"step {number}")
            seen[number] = rows, noise
            return results[number]

        return take

    rows, noise = torch.tensor([1, 2]), torch.tensor([0.5])
    replay = steps.record([step(0), step(1)], [(rows, noise), (rows + 6, None)])
    once = ["fork a", "on a", "step 0", "fork b", "on b", "step 1", "join a", "join b"]
    assert calls == once * steps.WARM_UP + ["begin", *once, "end"]
    capture.assert_called_once_with(graph)
    found = replay([(torch.tensor([3, 4]), torch.tensor([0.25])), (torch.tensor([5, 6]), None)])
    assert calls[-1] == "replay"
    assert seen[0][0].tolist() == [3, 4] and seen[0][1].tolist() == [0.25]
    assert seen[1][0].tolist() == [5, 6]
    assert rows.tolist() == [1, 2] and noise.tolist() == [0.5]
    results[0].fill_(2.0)  # the next replay overwrites what the graph wrote
    assert [value.item() for value in found] == [1.0, 5.0]


def test_streams_are_joined_when_a_step_fails(monkeypatch):
    """A capture whose streams are not joined cannot be ended, and hides the reason."""
    here, joined = Mock(), []
    here.wait_stream.side_effect = joined.append
    monkeypatch.setattr(steps, "_stream", MagicMock())
    monkeypatch.setattr(torch.cuda, "stream", MagicMock())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: here)

    def fails(rows, noise):
        raise RuntimeError("no")

    batch = (torch.tensor([1]), None)
    with pytest.raises(RuntimeError, match="no"):
        steps.record([fails, fails], [batch, batch])
    assert len(joined) == 1  # the second was not forked
