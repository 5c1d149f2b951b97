"""Training steps with a recording: it is used only where it does the same, bit for bit.

Where there is no GPU the recording is replaced by functions on the CPU; tests/models/test_cuda.py
has the real one.
"""

from unittest.mock import MagicMock, Mock, call

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


@pytest.fixture
def cuda(monkeypatch):
    """All of CUDA replaced; its streams are `a` and `b`."""
    cuda = MagicMock()
    monkeypatch.setattr(torch, "cuda", cuda)
    monkeypatch.setattr(steps, "_stream", lambda number: [cuda.a, cuda.b][number])
    return cuda


def test_a_recording_forks_a_stream_for_each_model_and_replays_on_what_it_is_given(cuda):
    """With all of CUDA replaced: warm-up, one capture, then nothing but copies and replays."""
    results = torch.tensor([1.0]), torch.tensor([5.0])
    cuda.step_a.return_value, cuda.step_b.return_value = results
    rows, noise = torch.tensor([1, 2]), torch.tensor([0.5])
    replay = steps.record([cuda.step_a, cuda.step_b], [(rows, noise), (rows + 6, None)])
    stepped = [
        [f"{n}.wait_stream", "stream", "stream().__enter__", f"step_{n}", "stream().__exit__"]
        for n in "ab"
    ]
    once = ["current_stream", *stepped[0], *stepped[1], *["current_stream().wait_stream"] * 2]
    capture = ["CUDAGraph", "graph", "graph().__enter__", *once, "graph().__exit__"]
    assert [name for name, *_ in cuda.mock_calls] == once * steps.WARM_UP + capture
    assert cuda.stream.call_args_list == [call(cuda.a), call(cuda.b)] * (steps.WARM_UP + 1)
    cuda.graph.assert_called_once_with(cuda.CUDAGraph.return_value)
    joined = cuda.current_stream.return_value.wait_stream
    assert joined.call_args_list == [call(cuda.a), call(cuda.b)] * (steps.WARM_UP + 1)
    found = replay([(torch.tensor([3, 4]), torch.tensor([0.25])), (torch.tensor([5, 6]), None)])
    assert cuda.mock_calls[-1][0] == "CUDAGraph().replay"
    (rows_a, noise_a), (rows_b, _) = cuda.step_a.call_args.args, cuda.step_b.call_args.args
    assert (rows_a.tolist(), noise_a.tolist(), rows_b.tolist()) == ([3, 4], [0.25], [5, 6])
    assert rows.tolist() == [1, 2] and noise.tolist() == [0.5]
    results[0].fill_(2.0)  # the next replay overwrites what the graph wrote
    assert [value.item() for value in found] == [1.0, 5.0]


def test_streams_are_joined_when_a_step_fails(cuda):
    """A capture whose streams are not joined cannot be ended, and hides the reason."""
    cuda.step.side_effect = RuntimeError("no")
    batch = (torch.tensor([1]), None)
    with pytest.raises(RuntimeError, match="no"):
        steps.record([cuda.step, cuda.step], [batch, batch])
    cuda.current_stream().wait_stream.assert_called_once_with(cuda.a)  # b was not forked
