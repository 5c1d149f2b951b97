"""Run Snakemake and say in a line per job what was done, how far it is, and how long it may take.

    python workflow/progress.py snakemake --cores all --configfile config/demo.yaml

Everything after the script's name is the command. On a terminal the last line names what runs.
What Snakemake and its jobs print otherwise goes to `.snakemake/log/` and to the jobs' own logs, but
each warning is shown once: it is about the user's images. At the end stand the failed jobs, each
with the error that its log ends with, and the log's path; where no job has run, the last lines of
what Snakemake said. The exit code is Snakemake's; Ctrl-C and SIGTERM go to it. What Snakemake would
answer with a traceback ends in a paragraph.
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

STARTED = re.compile(r"^Job (\d+): (.*)$")
FINISHED = re.compile(r"^Finished jobid: (\d+) \(Rule: (\w+)\)$")
STEPS = re.compile(r"^(\d+) of (\d+) steps \(\d+%\) done$")
FAILED = re.compile(r"^Error in rule (\w+)")
FAILED_ID = re.compile(r"^    jobid: (\d+)$")
FAILED_LOG = re.compile(r"^    log: (.+?) \(check log file")
ERROR = re.compile(r"^\S+ \S+ (?:ERROR|CRITICAL) ")
WARNING = re.compile(r"^\S+ \S+ WARNING [\w.]+: (.*)$")
NO_JOB = re.compile(r"Job stats:|Nothing to be done")  # where a dry run's summary begins
SETTING = re.compile(r"[a-zA-Z_][\w-]*\w=")  # what --config takes
LAST_LINES = 60  # of Snakemake's, when no job runs
LOG_LINES = 12  # of a failed job's log


def time_left(seconds: float, done: int, total: int) -> str:
    """Return how long the rest may take, if jobs go on as they did."""
    left = seconds / done * (total - done)
    return f"about {left / 60:.0f} min left" if left >= 90 else f"about {left:.0f} s left"


def last_error(log: Path) -> list[str]:
    """Return the last error of a job's log, or its last lines where none is marked."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    marked = [number for number, line in enumerate(lines) if ERROR.match(line)]
    error = lines[marked[-1] :] if marked else lines
    return error if len(error) <= LOG_LINES else [error[0], "…", *error[2 - LOG_LINES :]]


def command_fault(command: list[str]) -> str | None:
    """Return what is wrong with a command's configuration; None when nothing is."""
    option = ""
    for word in command:
        if word.startswith("-"):
            option = word
        elif option in ("--configfile", "--configfiles") and not Path(word).is_file():
            return (
                f"There is no configuration file {word}. Name one of config/ after {option}; names "
                "of files to make stand before it."
            )
        elif option == "--config" and not SETTING.match(word):
            return (
                f"--config takes keys of the top level, as in run=mine, and {word} is none. Write "
                "others into a file, as `training: {epochs: 3}`, and name it after --configfile."
            )
    return None


class Progress:
    """What Snakemake's lines say of the run.

    `show` prints a line for the reader, `status` one that the next line overwrites.
    """

    def __init__(self, show=print, status=lambda text: None):
        self.show = show
        self.status = status
        self.messages: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.finished = ""
        self.failures: list[dict[str, str]] = []
        self.warnings: set[str] = set()
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.start = time.monotonic()

    def read(self, line: str) -> None:
        """Take the next line of Snakemake's output."""
        self.last.append(line)
        if line.startswith("Taking over"):  # the lock of a run that was killed
            self.show(line)
        if (found := WARNING.match(line)) and found[1] not in self.warnings:
            self.warnings.add(found[1])
            self.show(f"WARNING  {found[1]}")
        elif found := STARTED.match(line):
            self.messages[found[1]] = self.running[found[1]] = found[2]
            self.status(f"running: {'; '.join(self.running.values())}")
        elif found := FINISHED.match(line):
            self.finished = self.messages.get(found[1], found[2])
            self.running.pop(found[1], None)
        elif found := STEPS.match(line):
            done, total = int(found[1]), int(found[2])
            left = time_left(time.monotonic() - self.start, done, total)
            share = f"{done:{len(found[2])}}/{total}  {100 * done // total:3} %"
            self.show(f"{share}  {'done' if done == total else left:18}  {self.finished}")
        elif found := FAILED.match(line):
            self.failures.append({"what": found[1]})
            self.show(f"FAILED  {found[1]}; what does not need it goes on")
        elif self.failures and (found := FAILED_ID.match(line)):
            self.failures[-1]["what"] = self.messages.get(found[1], self.failures[-1]["what"])
            self.running.pop(found[1], None)
        elif self.failures and (found := FAILED_LOG.match(line)):
            self.failures[-1]["log"] = found[1]

    def end(self, code: int) -> None:
        """Print what has failed; where no job has run, what Snakemake said."""
        if code == 0:
            if not self.finished:
                said = list(self.last)
                starts = [number for number, line in enumerate(said) if NO_JOB.match(line)]
                self.show("\n".join(said[starts[-1] if starts else 0 :]))
            return
        # A job that was tried again has failed more than once.
        for what, log in dict.fromkeys((f["what"], f.get("log", "")) for f in self.failures):
            self.show(f"\nFailed: {what}")
            for line in last_error(Path(log)) if log else []:
                self.show(f"  {line}")
            self.show(f"  Log: {log or 'see below'}")
        if not all("log" in failure for failure in self.failures) or not self.failures:
            self.show("\nThe last lines of Snakemake:")
            for line in self.last:
                self.show(f"  {line}")


def main(command: list[str]) -> int:
    """Run the command; return its exit code."""
    terminal = sys.stdout.isatty()
    clear = "\r\x1b[K" if terminal else ""

    def status(text: str) -> None:
        if terminal:
            print(clear + text[: shutil.get_terminal_size().columns - 1], end="", flush=True)

    if fault := command_fault(command):
        print(fault)
        return 1
    progress = Progress(lambda text: print(clear + text, flush=True), status)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        # The terminal sends Ctrl-C to both; Snakemake ends its jobs, and this waits for it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        for line in process.stdout:
            progress.read(line.rstrip("\n"))
    progress.end(process.returncode)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
