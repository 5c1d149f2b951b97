"""Show where a run's time went: seconds of each stage's jobs, imports of torch, and the wall time.

Input: the folder of a run, `results/<run>`, whose `benchmarks/` Snakemake wrote. The wall time is
the span from the first job's begin to the last one's end, by the times of these files, so it means
something for a run that went through without a pause. Fails when there are no such files.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from record_provenance import stage_times

from medae.files import read_table
from medae.tables import markdown_table
from medae.workflow import SCRIPTS, imported_modules

IMPORT = re.compile(r"^\s*(?:import|from) torch\b", re.MULTILINE)


def imports_torch(stage: str) -> bool:
    """Return whether the script of a rule imports torch, itself or through the package."""
    script = SCRIPTS / f"{stage}.py"
    if not script.exists():
        return False
    sources = [script, *imported_modules(script)]
    return any(IMPORT.search(path.read_text(encoding="utf-8")) for path in sources)


def import_seconds(repeats: int = 3) -> float:
    """Return what `import torch` adds to the start of Python here, the median of some starts."""

    def seconds(code: str) -> float:
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.monotonic() - start

    return statistics.median(seconds("import torch") - seconds("pass") for _ in range(repeats))


def wall_seconds(benchmarks: Path) -> float:
    """Return the span between the first job's begin and the last one's end."""
    ends, begins = [], []
    for path in benchmarks.rglob("*.tsv"):
        end = path.stat().st_mtime
        ends.append(end)
        begins.append(end - float(read_table(path)["s"].sum()))
    return max(ends) - min(begins)


def overhead(run: Path, *, torch_seconds: float, cores: int) -> tuple[pd.DataFrame, dict]:
    """Return a row per stage, and the totals in seconds.

    `outside` is the share of the cores' time in which no job ran: Snakemake itself, and cores
    without a job that could start.
    """
    benchmarks = run / "benchmarks"
    stages = stage_times(benchmarks)
    if not stages:
        sys.exit(f"{benchmarks} has no benchmark files. Name the folder of a run that has ended.")
    table = pd.DataFrame(
        [
            {
                "stage": stage,
                "jobs": found["jobs"],
                "seconds": found["wall_seconds"],
                "torch_seconds": found["jobs"] * torch_seconds * imports_torch(stage),
            }
            for stage, found in stages.items()
        ]
    ).sort_values("seconds", ascending=False, ignore_index=True)
    wall = wall_seconds(benchmarks)
    jobs = float(table["seconds"].sum())
    totals = {
        "jobs": jobs,
        "torch": float(table["torch_seconds"].sum()),
        "wall": wall,
        "outside": 1 - jobs / (cores * wall),
    }
    return table, totals


def main() -> None:
    """Print the table of a run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="results/<run>")
    parser.add_argument("--cores", type=int, default=2, help="that the run had")
    options = parser.parse_args()
    table, totals = overhead(options.run, torch_seconds=import_seconds(), cores=options.cores)
    rows = [
        [row.stage, str(row.jobs), f"{row.seconds:.1f}", f"{row.torch_seconds:.1f}"]
        for row in table.itertuples()
    ]
    print(markdown_table(["Stage", "Jobs", "Seconds", "of them import of torch"], rows, "lrrr"))
    print(f"Jobs together: {totals['jobs']:.1f} s; wall time: {totals['wall']:.1f} s.")
    print(f"Imports of torch: {totals['torch'] / totals['jobs']:.1%} of the jobs' time.")
    print(f"Time of {options.cores} cores in which no job ran: {totals['outside']:.1%}.")


if __name__ == "__main__":
    main()
