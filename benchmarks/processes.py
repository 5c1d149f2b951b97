"""Functions of plain_loop.py and project.py in fresh processes, started at the same moment."""

import multiprocessing
import os
import time
from collections.abc import Callable

import plain_loop
import project
import torch

from medae.models.torch_setup import make_deterministic

CORES = len(os.sched_getaffinity(0))
SIDES = {"plain": plain_loop, "project": project}


def items_per_second(timed, wait: Callable[[], object]) -> float:
    """Run one of the functions' generators: prepare, wait for the others, and time the work."""
    next(timed)
    wait()
    start = time.perf_counter()
    items = next(timed)
    return items / (time.perf_counter() - start)


def _prepare(side: str, threads: int, barrier) -> None:
    if side == "project":
        make_deterministic(threads)  # as every job does that runs a network
    else:
        torch.set_num_threads(threads)
    _prepare.wait = barrier.wait


def _call(side: str, function: str, arguments: tuple, options: dict) -> float:
    timed = getattr(SIDES[side], function)(*arguments, **options)
    return items_per_second(timed, _prepare.wait)


def rate(side: str, function: str, arguments: tuple, options: dict, jobs: int = 1) -> float:
    """Share the cores among `jobs` processes that run a function; return the sum of their rates."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(jobs, _prepare, (side, CORES // jobs, context.Barrier(jobs))) as pool:
        return sum(pool.starmap(_call, [(side, function, arguments, options)] * jobs, chunksize=1))
