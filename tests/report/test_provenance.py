"""What the record of a run says of the code and of its trainings."""

import subprocess

from record_provenance import distinct_trainings, git_state, smaller_batches


def test_the_commit_and_whether_the_code_differs_from_it(tmp_path):
    def git(*arguments):
        options = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", tmp_path, *options, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert git_state(tmp_path) == {}
    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "--message", "first")
    (tmp_path / "results.txt").write_text("not tracked")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "modified": False}
    (tmp_path / "code.py").write_text("2")
    assert git_state(tmp_path)["modified"] is True


def test_trainings_are_told_apart_and_smaller_batches_are_named():
    whole = {"method": "ae", "device": "cpu", "device_name": "A CPU", "versions": {"torch": "2"}}
    whole |= {"code_sha256": "1", "training": {"batch_size": 64}, "dataset": "scans"}
    whole |= {"training_set": "all", "seed": 0, "batch_size_used": 64}
    whole |= {"arguments": {"latent_dim": 4}}
    halved = whole | {"seed": 1, "batch_size_used": 32}
    other = whole | {"device_name": "Another CPU"}
    found = distinct_trainings([whole, halved, other])
    assert [one["device_name"] for one in found] == ["A CPU", "Another CPU"]
    kept = ("dataset", "training_set", "method", "seed", "batch_size_used")
    expected = {key: halved[key] for key in kept} | {"latent_dim": 4}
    assert smaller_batches([whole, halved, other]) == [expected]
