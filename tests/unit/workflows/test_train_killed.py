"""A training that is killed: the adopted model stays, and the run goes on to the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fixtures.models import MakeModel
from fixtures.projects import true_partner
from napari_neurobridge.encoder.strategies import Strategy
from napari_neurobridge.models.current import current_model
from napari_neurobridge.models.training_record import read_training_record
from napari_neurobridge.project.folder import Project
from napari_neurobridge.project.log import annotate
from napari_neurobridge.training.fine_tune import FineTuneConfig
from napari_neurobridge.workflows.adopt import adopt_model
from napari_neurobridge.workflows.train import train_project
from napari_neurobridge.workflows.training_log import LOG_FILE, TrainingLog, read_training_log

STEPS = 32
CONFIG = FineTuneConfig(strategy=Strategy.FULL, steps=STEPS)


def log_of(project: Path) -> TrainingLog | None:
    return read_training_log(project / "runs" / LOG_FILE)


@pytest.mark.slow
def test_killed_it_leaves_the_adopted_model_and_goes_on_to_the_same_bits(
    real_model_project: Project, make_model: MakeModel, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    uids = sorted(real_model_project.state().somata["two_photon"])
    for uid in uids[:10]:
        annotate.accept(real_model_project, uid, true_partner(uid), annotator="me")
    adopt_model(real_model_project, make_model(tmp_path / "tiny"), annotator="me")
    real_model_project.close()
    path, other = real_model_project.path, tmp_path / "other.neurobridge"
    shutil.copytree(path, other)

    command = [sys.executable, "-m", "napari_neurobridge.cli", "train", str(path)]
    command += ["--strategy", "full", "--steps", str(STEPS)]
    child = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    while child.poll() is None:
        log = log_of(path)
        if log is not None and log.last_step > CONFIG.validate_every + 1:
            break
        time.sleep(0.01)
    assert child.poll() is None, "it ended before it could be killed"
    child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    child.wait()

    killed = Project.open(path)
    assert current_model(killed).name == "tiny"
    assert not list(killed.models_dir.glob("v*"))
    before = log_of(path)
    assert before is not None
    assert not before.ended
    told: list[tuple[int, str]] = []
    resumed = train_project(killed, CONFIG, report=lambda done, _, what: told.append((done, what)))
    trained = [done for done, what in told if what.startswith("fine-tuning") and done]
    assert min(trained) >= CONFIG.validate_every, "it began anew"
    after = log_of(path)
    assert after is not None
    assert after.ended
    # The curve has what was trained before the kill and after it, each step once.
    assert [p.step for p in after.points if p.loss is not None] == list(range(1, STEPS + 1))
    assert not list(killed.runs_dir.glob("train-*.safetensors"))
    current = current_model(killed).name
    killed.close()

    whole = Project.open(other)
    uninterrupted = train_project(whole, CONFIG)
    whole.close()
    weights = [(r.model / "weights.safetensors").read_bytes() for r in (resumed, uninterrupted)]
    assert weights[0] == weights[1]
    records = [read_training_record(r.model) for r in (resumed, uninterrupted)]
    assert records[0].curve == records[1].curve
    assert current == ("v1-full" if resumed.adopted else "tiny")
