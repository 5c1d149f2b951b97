"""`workflow/progress.py`: a line per job, the failed ones at the end, Snakemake's exit code."""

import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def progress(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "workflow")
    import progress

    return progress


def run(project, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
    command += ["--configfile", "config/small.yaml"]
    return subprocess.run(
        [sys.executable, "workflow/progress.py", *command],
        cwd=project.folder,
        capture_output=True,
        text=True,
    )


def test_a_line_per_job(finished_copy):
    (finished_copy.results / "figures/methods.png").unlink()
    done = run(finished_copy)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1/") and lines[0].endswith("Plotting the methods")
    assert " left  " in lines[0]
    assert lines[-1].split() == [lines[-1].split()[0], "100", "%", "done", "all"]
    total = int(lines[-1].split("/")[0])
    assert len(lines) == total


def test_a_run_without_jobs_says_so(finished_copy):
    done = run(finished_copy)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1) and "Nothing to be" in done.stdout
    (finished_copy.results / "figures/methods.png").unlink()
    done = run(finished_copy, "--dry-run")
    assert done.returncode == 0 and done.stdout.startswith("Job stats:\n")
    assert "plot_methods " in done.stdout


def test_a_failed_job_stands_at_the_end_with_its_log(finished_copy):
    (finished_copy.results / "metrics.tsv").write_text("junk\n")
    done = run(finished_copy, "--force", "plot_methods")
    assert done.returncode == 1
    text = done.stdout[done.stdout.index("\nFailed: Plotting the methods") :]
    assert " ERROR " in text
    assert "Log: results/small/logs/plot_methods.log" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config", "training:epochs=3"], "training:epochs=3 is none. Write others"),
        (["--config", "epochs"], "epochs is none"),
        (["--configfile", "none.yaml"], "There is no configuration file none.yaml"),
        (["--config", "seeds=many"], "The configuration is not valid"),
    ],
)
def test_what_fails_before_any_job_is_explained(arguments, words, fresh):
    done = run(fresh, *arguments)
    assert done.returncode == 1 and words in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_end_of_a_long_error_is_shown(progress, tmp_path):
    log = tmp_path / "log.txt"
    lines = [f"line {i}" for i in range(50)]
    log.write_text("\n".join(["2026-01-01 10:00:00,1 ERROR root: first", "x"] * 2 + lines))
    shown = progress.last_error(log)
    assert len(shown) == progress.LOG_LINES
    assert shown[0].endswith("first") and shown[-1] == "line 49"
    assert progress.last_error(tmp_path / "none") == []


def test_the_time_that_is_left(progress):
    assert progress.time_left(10, 2, 8) == "about 30 s left"
    assert progress.time_left(600, 5, 10) == "about 10 min left"


def test_the_status_names_what_runs(progress):
    lines, states = [], []
    one = progress.Progress(lines.append, states.append)
    for line in ("Job 3: Training a", "Job 4: Training b", "Finished jobid: 3 (Rule: train)"):
        one.read(line)
    one.read("1 of 9 steps (11%) done")
    one.read("Job 5: Scoring a")
    assert states[1] == "running: Training a; Training b"
    assert states[-1] == "running: Training b; Scoring a"
    assert lines[0].startswith("1/9   11 %") and lines[0].endswith("Training a")


def test_a_warning_of_a_job_is_shown_once(progress):
    lines = []
    one = progress.Progress(lines.append)
    for text in ("3 images are odd", "3 images are odd", "2 images are odd"):
        one.read(f"2026-01-01 10:00:00,123 WARNING medae.data.findings: {text}")
    one.read("2026-01-01 10:00:00,123 INFO medae.data.layouts: 3 images")
    assert lines == ["WARNING  3 images are odd", "WARNING  2 images are odd"]


def test_a_signal_goes_on_to_the_command(root, tmp_path):
    ready = tmp_path / "ready"
    child = (
        "import pathlib, signal, time; signal.signal(15, lambda *_: exit(7)); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    script = root / "workflow/progress.py"
    with subprocess.Popen([sys.executable, script, sys.executable, "-c", child]) as process:
        while not ready.exists():
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 7
