"""Functions of plain_loop.py and project.py in fresh processes, started at the same moment."""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import plain_loop
import project
import torch
from record_provenance import git_state

from medae.base.hardware import machine
from medae.models.torch_setup import make_deterministic

CORES = len(os.sched_getaffinity(0))


def _prepare(module: str, threads: int, barrier) -> None:
    if module == "project":
        make_deterministic(threads)  # as every job does that runs a network
    else:
        torch.set_num_threads(threads)
    _prepare.wait = barrier.wait


def _call(task) -> float:
    module, function, arguments, options = task
    timed = getattr({"plain": plain_loop, "project": project}[module], function)
    return timed(*arguments, **options, wait=_prepare.wait)


def provenance(command: str) -> str:
    """Return what a measurement was made with, as JSON."""
    record = {
        "command": command,
        "code": git_state(project.ROOT),
        "torch": torch.__version__,
        "device": device().type,
        "hardware": machine(),
    }
    return json.dumps(record, indent=2) + "\n"


def device() -> torch.device:
    """Return where networks run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rate(
    module: str, function: str, *, arguments=(), options: dict, jobs: int = 1, threads: int = CORES
) -> float:
    """Run a function in `jobs` processes side by side; return the sum of their rates."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(jobs)
    with context.Pool(jobs, _prepare, (module, threads, barrier)) as pool:
        task = (module, function, arguments, options)
        return sum(pool.map(_call, [task] * jobs, chunksize=1))


def _peak(function: Callable, arguments: tuple, options: dict) -> tuple[object, float]:
    result = function(*arguments, **options)
    status = Path("/proc/self/status")  # getrusage counts what the parent had, too
    lines = status.read_text().splitlines() if status.exists() else []
    peak = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return result, peak[0] if peak else float("nan")


def with_peak_memory(function: Callable, *arguments, **options) -> tuple[object, float]:
    """Return what a function gives in a fresh process, and the process' peak memory in MiB.

    The memory is nan where there is no /proc.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (function, arguments, options))
