"""Training steps, and their recording for a GPU, which the host cannot keep busy otherwise."""

import logging
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from medae.base.errors import InputError
from medae.models.networks import normalise
from medae.models.torch_setup import is_out_of_memory

logger = logging.getLogger(__name__)

WARM_UP = 3  # steps before a recording, in which libraries allocate what they keep

Batch = tuple[Tensor, Tensor | None]
"""The rows of the images, B, and noise B × …, on the device of the model."""


class Trainee:
    """A model, its optimiser, and the images that it trains on."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor) -> None:
        """Take `images`, uint8 N × C × H × W, on the device of `model`."""
        self.model, self.optimizer, self.images = model, optimizer, images
        self.names: list[str] = []  # of the losses

    def step(self, rows: Tensor, noise: Tensor | None) -> Tensor:
        """Take a step on a batch; return the losses `names`."""
        losses = self.model.loss(normalise(self.images[rows]), noise)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.optimizer.step()
        self.names = list(losses)
        return torch.stack([value.detach() for value in losses.values()])

    def state(self) -> list[Tensor]:
        """Return all tensors that a step changes in place."""
        of_parameters = self.optimizer.state.values()
        moments = [tensor for state in of_parameters for tensor in state.values()]
        weights = (value.detach() for value in self.model.parameters())
        return [*weights, *self.model.buffers(), *moments]


class Stepper:
    """Takes training steps of several models, one of each at a time.

    On CUDA these steps are recorded as one CUDA graph, each on a stream of its own: the networks
    are so small that launching their kernels takes longer than running them, and that one model
    leaves most of a GPU idle. The short last batch of an epoch has a graph of its own. A recording
    is used only where it gives every model the same bits as its steps alone; otherwise a warning is
    logged and training goes on without.
    """

    def __init__(self, trainees: Sequence[Trainee], *, cuda_graphs: bool = True) -> None:
        self.trainees = trainees
        self._may_record = cuda_graphs and trainees[0].images.device.type == "cuda"
        self._seen: set[tuple] = set()  # shapes of batches
        self._replays: dict[tuple, Callable[[Sequence[Batch]], list[Tensor]]] = {}

    def __call__(self, batches: Sequence[Batch | None]) -> list[Tensor | None]:
        """Take a step of each model on its batch, if it has one; return their losses.

        Raises InputError when the steps cannot be recorded, and torch.OutOfMemoryError.
        """
        shapes = tuple(batch and batch[0].shape for batch in batches)
        known = shapes in self._seen  # optimisers have their state by then
        self._seen.add(shapes)
        if known and self._may_record and shapes not in self._replays and all(batches):
            replay = self._checked_recording(batches)
            self._may_record = bool(replay)
            self._replays = self._replays | {shapes: replay} if replay else {}
        return self._replays.get(shapes, self._one_by_one)(batches)

    def _one_by_one(self, batches: Sequence[Batch | None]) -> list[Tensor | None]:
        pairs = zip(self.trainees, batches, strict=True)
        return [batch and trainee.step(*batch) for trainee, batch in pairs]

    def _state(self) -> list[Tensor]:
        return [tensor for trainee in self.trainees for tensor in trainee.state()]

    def _copies(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self._state()]

    def _put(self, values: list[Tensor]) -> None:
        for tensor, value in zip(self._state(), values, strict=True):
            tensor.copy_(value)

    def _checked_recording(
        self, batches: Sequence[Batch]
    ) -> Callable[[Sequence[Batch]], list[Tensor]] | None:
        """Return the recording of steps on such batches, or None; weights stay as they are.

        A recording that failed leaves CUDA's allocator in the middle of it, so the job has to end.
        """
        other = [
            (rows.flip(0), None if noise is None else noise.flip(0)) for rows, noise in batches
        ]
        try:
            before = self._copies()
            replay = record([trainee.step for trainee in self.trainees], batches)
            self._put(before)
            expected = [*self._one_by_one(other), *self._copies()]
            self._put(before)
            found = [*replay(other), *self._copies()]
            self._put(before)
        except RuntimeError as error:
            # Ending a failed recording raises another error. The first one gets no name here, which
            # would keep what the recording had allocated.
            text = str(error.__context__ or error)
            if is_out_of_memory(error.__context__ or error):
                raise torch.OutOfMemoryError(text) from error
            reason = text.partition("\n")[0]
            raise InputError(
                f"A training step could not be recorded as a CUDA graph: {reason}. Set `training: "
                "{cuda_graphs: false}`, which changes no number; training then takes longer and "
                "goes on from its last state."
            ) from error
        pairs = zip(expected, found, strict=True)
        if all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):  # NaN equals NaN
            return replay
        logger.warning(
            "Training goes on without a CUDA graph, which is slower: a recorded step gives other "
            "weights than one that is not recorded."
        )
        return None


@cache
def _stream(number: int) -> torch.cuda.Stream:
    """Return a stream by its number; recordings share them, for cuBLAS keeps memory for each."""
    return torch.cuda.Stream()


def record(
    steps: Sequence[Callable[[Tensor, Tensor | None], Tensor]], batches: Sequence[Batch]
) -> Callable[[Sequence[Batch]], list[Tensor]]:
    """Record `steps` as one CUDA graph; return a function that does the same on other batches.

    Those must have the shapes of `batches`. Each step is on a stream of its own, so no two may
    touch the same tensor; whatever they change is changed by the recording, too. Raises
    RuntimeError when something in a step cannot be recorded.
    """
    kept = [(rows.clone(), None if noise is None else noise.clone()) for rows, noise in batches]
    streams = [_stream(number) for number in range(len(steps))]

    def side_by_side() -> list[Tensor]:
        here, forked, results = torch.cuda.current_stream(), [], []
        try:
            for step, batch, stream in zip(steps, kept, streams, strict=True):
                stream.wait_stream(here)
                forked.append(stream)
                with torch.cuda.stream(stream):
                    results.append(step(*batch))
        finally:  # a recording can end only when its streams are joined
            for stream in forked:
                here.wait_stream(stream)
        return results

    for _ in range(WARM_UP):
        side_by_side()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = side_by_side()

    def replay(new: Sequence[Batch]) -> list[Tensor]:
        for (rows, noise), (new_rows, new_noise) in zip(kept, new, strict=True):
            rows.copy_(new_rows)
            if noise is not None:
                noise.copy_(new_noise)
        graph.replay()
        return [result.clone() for result in results]

    return replay
