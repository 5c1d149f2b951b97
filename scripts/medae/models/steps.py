"""One step of training, and its recording for a GPU, which the host cannot keep busy otherwise."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from medae.base.errors import InputError
from medae.models.networks import normalise

logger = logging.getLogger(__name__)

WARM_UP = 3  # steps before a recording, in which libraries allocate what they keep

Step = Callable[[Tensor, Tensor | None], Tensor]
"""Takes a step on the images at rows B with noise B × …; returns the losses, L."""


class Stepper:
    """Takes training steps of a model.

    On CUDA a step is recorded as a CUDA graph: the networks are so small that launching their
    kernels takes longer than running them, and a graph is launched at once. The recording is used
    only where it gives the same bits as a step without; otherwise a warning is logged and training
    goes on without.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        images: Tensor,
        *,
        cuda_graphs: bool = True,
    ) -> None:
        """Train on `images`, uint8 N × C × H × W, on the device of `model`."""
        self.model, self.optimizer, self.images = model, optimizer, images
        self.names: list[str] = []  # of the losses
        self._may_record = cuda_graphs and images.device.type == "cuda"
        self._shape: torch.Size | None = None  # of the batches to record, those of the first step
        self._replay: Step | None = None

    def __call__(self, rows: Tensor, noise: Tensor | None) -> Tensor:
        """Take a step on the images at `rows`; return the losses `names`.

        Raises InputError when a step cannot be recorded.
        """
        if self._shape is None:
            self._shape = rows.shape
        elif rows.shape == self._shape and self._may_record:  # the optimiser has its state by now
            self._may_record = False
            self._replay = self._checked_recording(rows, noise)
        if self._replay and rows.shape == self._shape:
            return self._replay(rows, noise)
        return self._step(rows, noise)

    def _step(self, rows: Tensor, noise: Tensor | None) -> Tensor:
        losses = self.model.loss(normalise(self.images[rows]), noise)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self.optimizer.step()
        self.names = list(losses)
        return torch.stack([value.detach() for value in losses.values()])

    def _state(self) -> list[Tensor]:
        """Return all tensors that a step changes in place."""
        of_parameters = self.optimizer.state.values()
        moments = [tensor for state in of_parameters for tensor in state.values()]
        weights = (value.detach() for value in self.model.parameters())
        return [*weights, *self.model.buffers(), *moments]

    def _copies(self) -> list[Tensor]:
        return [tensor.clone() for tensor in self._state()]

    def _put(self, values: list[Tensor]) -> None:
        for tensor, value in zip(self._state(), values, strict=True):
            tensor.copy_(value)

    def _checked_recording(self, rows: Tensor, noise: Tensor | None) -> Step | None:
        """Return the recording of a step on such a batch, or None; weights stay as they are.

        A recording that failed leaves CUDA's allocator in the middle of it, so the job has to end.
        """
        other = rows.flip(0), None if noise is None else noise.flip(0)  # what it has not seen
        try:
            before = self._copies()
            replay = record(self._step, rows, noise)
            self._put(before)
            expected = [self._step(*other), *self._copies()]
            self._put(before)
            found = [replay(*other), *self._copies()]
            self._put(before)
        except RuntimeError as error:
            cause = error.__context__ or error  # ending a failed recording raises another error
            reason = str(cause).partition("\n")[0]
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


def record(step: Step, rows: Tensor, noise: Tensor | None) -> Step:
    """Record `step` as a CUDA graph; return a function that does the same on other values.

    Arguments of that function must have the shapes of `rows` and `noise`. Whatever `step` changes
    is changed by the recording, too. Raises RuntimeError when something in it cannot be recorded.
    """
    rows = rows.clone()
    noise = None if noise is None else noise.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step(rows, noise)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = step(rows, noise)

    def replay(new_rows: Tensor, new_noise: Tensor | None) -> Tensor:
        rows.copy_(new_rows)
        if noise is not None:
            noise.copy_(new_noise)
        graph.replay()
        return result.clone()

    return replay
