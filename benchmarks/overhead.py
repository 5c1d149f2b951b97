"""Show where a run's time went: seconds of each stage's jobs, what of them is start-up, wall time.

    overhead.py results/demo                               a run that went through without a pause
    overhead.py --planned config/config.yaml --hours 23    a grid before it runs

A run's jobs are the files that Snakemake wrote to its `benchmarks/`. The wall time is the start of
Snakemake, measured here by a dry run, and the span from the first job's begin to the last file's
end, `provenance.json`, by the times of these files. A job counts for one core, however many
threads it has. Not counted: `--report`, which starts after the workflow. Fails when there are no
such files.
"""

import argparse
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from record_provenance import stage_times

from medae.base.files import read_table
from medae.report.tables import markdown_table
from medae.workflow.grid import SCRIPTS, imported_modules

ROOT = SCRIPTS.parent
IMPORT = re.compile(r"^\s*(?:import|from) torch\b", re.MULTILINE)
COUNTED = re.compile(r"^(\w+) +(\d+)$", re.MULTILINE)
COMPILER = {"train_autoencoder", "probe_latents"}
"""Stages that load torch's compiler, too, which takes as long as torch: optimisers and forward
differentiation do, although they compile nothing."""


def imports_torch(stage: str) -> bool:
    """Return whether the script of a rule imports torch, itself or through the package."""
    script = SCRIPTS / f"{stage}.py"
    if not script.exists():
        return False
    sources = [script, *imported_modules(script)]
    return any(IMPORT.search(path.read_text(encoding="utf-8")) for path in sources)


def seconds(*command: str, repeats: int = 3) -> float:
    """Return the processor time of a command, the median of some starts.

    That is how long it takes on a core of its own, whatever else runs on the machine.
    """

    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    def once() -> float:
        before = used()
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
        return used() - before

    return statistics.median(once() for _ in range(repeats))


def import_seconds(*imports: str, repeats: int = 3) -> float:
    """Return how long a process that only imports takes, from its start to its end.

    As a job's does, in which script_logging tells the garbage collector of what was imported.
    """
    code = "; ".join(["import gc", *(f"{line}; gc.freeze()" for line in imports)])
    return seconds(sys.executable, "-c", code, repeats=repeats)


def torch_seconds() -> Callable[[str], float]:
    """Return what a job of a stage spends on torch's imports, a function of the stage."""
    bare = import_seconds()
    plain = import_seconds("import torch") - bare
    compiler = import_seconds("import torch", "import torch._dynamo") - bare

    def of(stage: str) -> float:
        return (compiler if stage in COMPILER else plain) if imports_torch(stage) else 0.0

    return of


def start_seconds(stage: str) -> float:
    """Return how long a job of a stage takes to start and end, with the imports at its top."""
    if not (SCRIPTS / f"{stage}.py").exists():
        return 0.0
    imports = [f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); import {stage}"]
    imports += ["import torch._dynamo"] * (stage in COMPILER)
    return import_seconds(*imports, repeats=1)


def snakemake(*arguments: str) -> list[str]:
    """Return the command of a dry run of everything."""
    return [str(Path(sys.executable).parent / "snakemake"), "--dry-run", "--forceall", *arguments]


def planned_jobs(configfile: Path) -> dict[str, int]:
    """Return the number of jobs of each rule, by a dry run."""
    command = snakemake("--quiet", "rules", "--configfile", str(configfile.resolve()))
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    found = dict(COUNTED.findall(done.stdout + done.stderr))
    return {rule: int(count) for rule, count in found.items() if rule not in ("all", "total")}


def span_seconds(run: Path) -> float:
    """Return the span between the first job's begin and the end of the last file."""
    ends, begins = [], []
    for path in (run / "benchmarks").rglob("*.tsv"):
        end = path.stat().st_mtime
        ends.append(end)
        begins.append(end - float(read_table(path)["s"].sum()))
    record = run / "provenance.json"  # of the last job, which has no benchmark file
    if record.exists():
        ends.append(record.stat().st_mtime)
    return max(ends) - min(begins)


def overhead(
    run: Path,
    *,
    torch_of: Callable[[str], float],
    start_of: Callable[[str], float],
    start: float,
    cores: int,
) -> tuple[pd.DataFrame, dict]:
    """Return a row per stage, and the totals: seconds, and shares of the cores' time.

    `torch_of` and `start_of` give seconds of a job of a stage; `start` are those of Snakemake
    before the first job. `idle` is the share in which no job ran: Snakemake itself, and cores
    without a job that could start.
    """
    stages = stage_times(run / "benchmarks")
    if not stages:
        sys.exit(f"{run / 'benchmarks'} has no files. Name the folder of a run that has ended.")
    table = job_table(
        {stage: found["jobs"] for stage, found in stages.items()},
        torch_of=torch_of,
        start_of=start_of,
    )
    table["seconds"] = [stages[stage]["wall_seconds"] for stage in table["stage"]]
    table = table.sort_values("seconds", ascending=False, ignore_index=True)
    wall = start + span_seconds(run)
    totals = {
        "jobs": float(table["seconds"].sum()),
        "wall": wall,
        "torch": float(table["torch"].sum()) / (cores * wall),
        "start": float(table["start"].sum()) / (cores * wall),
        "idle": 1 - float(table["seconds"].sum()) / (cores * wall),
    }
    return table, totals


def job_table(
    jobs: Mapping[str, int],
    *,
    torch_of: Callable[[str], float],
    start_of: Callable[[str], float],
) -> pd.DataFrame:
    """Return the stages, their number of jobs, and the seconds that these take to start."""
    rows = [
        {
            "stage": stage,
            "jobs": count,
            "start": count * start_of(stage),
            "torch": count * torch_of(stage),
        }
        for stage, count in jobs.items()
    ]
    return pd.DataFrame(rows)


def print_table(table: pd.DataFrame, columns: dict[str, str]) -> None:
    """Print columns of a table of stages, in seconds, under their titles."""
    rows = [
        [row["stage"], str(row["jobs"]), *(f"{row[column]:.1f}" for column in columns)]
        for _, row in table.iterrows()
    ]
    print(markdown_table(["Stage", "Jobs", *columns.values()], rows, "lr" + "r" * len(columns)))


STARTS = {"start": "of them start and imports", "torch": "of these torch"}


def show_run(run: Path, *, cores: int) -> None:
    """Print where the time of a run went."""
    configfiles = (run / ".configuration").read_text(encoding="utf-8").split()
    start = seconds(*snakemake("--quiet", "all", "--configfile", *configfiles))
    table, totals = overhead(
        run, torch_of=torch_seconds(), start_of=start_seconds, start=start, cores=cores
    )
    print_table(table, {"seconds": "Seconds", **STARTS})
    wall, jobs = totals["wall"], totals["jobs"]
    print(f"Wall time {wall:.1f} s, of which {start:.1f} s until Snakemake starts a job.")
    print(f"Jobs together {jobs:.1f} s, {jobs / wall:.2f} times the wall time on {cores} cores.")
    print(f"Of the {cores * wall:.1f} s of {cores} cores: no job {totals['idle']:.1%}, imports of")
    print(f"torch {totals['torch']:.1%}, together {totals['idle'] + totals['torch']:.1%};")
    print(f"start and imports of all jobs, torch included, {totals['start']:.1%}.")


def show_plan(configfile: Path, *, cores: int, hours: float) -> None:
    """Print what the starts of a grid's jobs are of the hours that it takes."""
    table = job_table(planned_jobs(configfile), torch_of=torch_seconds(), start_of=start_seconds)
    print_table(table.sort_values("start", ascending=False, ignore_index=True), STARTS)
    jobs, start, torch = (table[column].sum() for column in ("jobs", "start", "torch"))
    importing = int(table.loc[table["torch"] > 0, "jobs"].sum())
    whole = cores * hours * 3600
    print(f"{importing} jobs import torch: {torch:.0f} s, {torch / whole:.2%} of {hours:g} h on")
    print(f"{cores} cores; start and imports of all {jobs} jobs: {start:.0f} s,")
    print(f"{start / whole:.2%}.")


def main() -> None:
    """Print the table of a run or of a plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="results/<run>")
    parser.add_argument("--planned", type=Path, help="a configuration, instead of a run")
    parser.add_argument("--hours", type=float, help="that the planned grid takes")
    parser.add_argument("--cores", type=int, default=2, help="that the run had, or will have")
    options = parser.parse_args()
    if options.run and not options.planned:
        show_run(options.run, cores=options.cores)
    elif options.planned and options.hours and not options.run:
        show_plan(options.planned, cores=options.cores, hours=options.hours)
    else:
        parser.error("name the folder of a run, or --planned and --hours")


if __name__ == "__main__":
    main()
