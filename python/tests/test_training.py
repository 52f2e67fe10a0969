"""Pretraining: budgets, callbacks, runs that stop and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import igpt
import numpy as np
import pytest
from shared import QUICK, SETTINGS, same


class Stop(Exception):
    """What a callback raises to stop a training."""


def stop_at(step: int) -> Any:
    """A callback that raises after `step` steps."""

    def callback(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == step:
            raise Stop(f"after {step} steps")

    return callback


def test_a_pretrained_model_is_ready_for_use(many: np.ndarray) -> None:
    model = igpt.pretrain(many, steps=4, **QUICK)
    assert isinstance(model, igpt.Model)
    assert (model.n_px, model.n_vocab, model.n_layer, model.n_embd) == ((8, 8), 16, 1, 16)
    assert model.sample(2).shape == (2, 8, 8, 3)
    assert (model.log_likelihood(many[:4]) < 0).all()


def test_training_makes_images_likelier(many: np.ndarray) -> None:
    less = igpt.pretrain(many, steps=1, **QUICK)
    more = igpt.pretrain(many, steps=60, **QUICK)
    assert more.log_likelihood(many).mean() > less.log_likelihood(many).mean()


def test_a_seed_trains_the_same_model_again(many: np.ndarray) -> None:
    one, two, other = (igpt.pretrain(many, steps=3, seed=seed, **QUICK) for seed in (1, 1, 2))
    assert same(one.log_likelihood(many[:4]), two.log_likelihood(many[:4]))
    assert not same(one.log_likelihood(many[:4]), other.log_likelihood(many[:4]))


def test_a_data_set_is_taken_by_its_name() -> None:
    model = igpt.pretrain("emoji", steps=1, **QUICK)
    assert model.n_px == (8, 8)


def test_grey_images_train_a_grey_model(many: np.ndarray) -> None:
    model = igpt.pretrain(many[..., 0], steps=2, **QUICK)
    assert model.channels == 1
    assert model.sample(2).shape == (2, 8, 8, 1)
    assert model.complete(many[:2, ..., 0]).shape == (2, 1, 8, 8, 1)
    assert model.palette.colors.shape == (16, 3)


def test_images_need_not_be_square(many: np.ndarray) -> None:
    model = igpt.pretrain(many, steps=2, **{**QUICK, "n_px": (8, 12)})
    assert model.n_px == (8, 12)
    assert model.sample(1).shape == (1, 8, 12, 3)
    assert model.log_likelihood(many[:2], per_pixel=True).shape == (2, 8, 12)
    assert model.tokens(many[:2]).shape == (2, 8, 12)


def test_a_budget_is_in_steps_passes_or_minutes(many: np.ndarray) -> None:
    for budget in ({"steps": 2}, {"epochs": 0.5}, {"epochs": 1}, {"minutes": 0.01}):
        last: dict[str, Any] = {}
        igpt.pretrain(many, callback=last.update, **budget, **QUICK)
        assert last["step"] >= 1


@pytest.mark.parametrize("budget", [{}, {"steps": 2, "epochs": 1}, {"steps": 2, "minutes": 1}])
def test_a_budget_is_exactly_one(many: np.ndarray, budget: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="(?s)steps.*epochs.*minutes"):
        igpt.pretrain(many, **budget, **QUICK)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": -1}, "steps"),
        ({"epochs": -1.0}, "epochs"),
        ({"minutes": float("nan")}, "minutes"),
        ({"steps": 1, "recipe": "modest"}, "modest.*modern"),
        ({"steps": 1, "preset": "huge"}, "huge.*nano"),
        ({"steps": 1, "objective": "guess"}, "guess.*masked"),
        ({"steps": 1, "augment": "twirl"}, "twirl.*shift"),
        ({"steps": 1, "colors": 0}, "0.*colours"),
        ({"steps": 1, "n_px": 0}, "0.*pixels"),
        ({"steps": 1, "batch": -4}, "batch"),
        ({"steps": 1, "seed": -1}, "seed"),
        ({"steps": 1, "threads": -1}, "threads"),
        ({"steps": 1, "precision": "f8"}, "f8"),
        ({"steps": 1, "device": "tpu"}, "tpu"),
        ({"steps": 1, "settings": {"train.no_such_key": 1}}, "no_such_key"),
        ({"steps": 1, "settings": {"train.batch": "many"}}, "train.batch"),
        ({"steps": 1, "settings": {"model.n_embd": 15, "model.n_head": 2}}, "n_embd"),
    ],
)
def test_wrong_settings_are_refused_by_name(many: np.ndarray, wrong: dict[str, Any], text: str) -> None:
    quick = {"n_px": 8, "colors": 16, "batch": 4, "settings": SETTINGS, "progress": False}
    with pytest.raises(ValueError, match=f"(?s){text}"):
        igpt.pretrain(many, **{**quick, **wrong})


def test_too_few_images_and_none_are_refused() -> None:
    for images in ([], np.zeros((0, 8, 8), np.uint8)):
        with pytest.raises(ValueError, match="images"):
            igpt.pretrain(images, steps=1, **QUICK)


def test_an_unknown_data_set_is_missing() -> None:
    with pytest.raises(FileNotFoundError, match="(?s)no-such-data.*emoji"):
        igpt.pretrain("no-such-data", steps=1, **QUICK)


def test_a_callback_hears_of_each_step_and_validation(many: np.ndarray, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    igpt.pretrain(many, tmp_path / "run", steps=5, callback=events.append, **QUICK)
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == [1, 2, 3, 4, 5]
    for event in steps:
        assert event["steps"] == 5
        assert 0 < event["loss"] < 10
        assert event["lr"] > 0
        assert event["tokens_per_second"] > 0
        assert event["seconds"] >= 0
    validations = [event for event in events if event["event"] == "validation"]
    assert validations[-1]["step"] == 5
    assert validations[-1]["loss"] > 0 and validations[-1]["bits_per_dim"] > 0
    assert any(event["best"] for event in validations)
    checkpoints = [event for event in events if event["event"] == "checkpoint"]
    assert Path(checkpoints[-1]["path"]).is_dir()
    assert {event["event"] for event in events} <= {"step", "validation", "checkpoint", "phase", "note", "warning"}
    assert all(isinstance(event["text"], str) for event in events if event["event"] in ("phase", "note", "warning"))


def test_a_callback_runs_in_the_calling_thread(many: np.ndarray) -> None:
    threads = set()
    igpt.pretrain(many, steps=2, callback=lambda _: threads.add(threading.get_ident()), **QUICK)
    assert threads == {threading.get_ident()}


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("progress", [True, False])
def test_an_exception_of_a_callback_stops_the_training_and_is_raised_again(
    many: np.ndarray, tmp_path: Path, kept: bool, progress: bool
) -> None:
    steps = []

    def callback(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            steps.append(event["step"])
            if event["step"] == 3:
                raise Stop("enough")

    with pytest.raises(Stop, match="enough"):
        igpt.pretrain(
            many, tmp_path / "run" if kept else None, steps=1000, callback=callback, **{**QUICK, "progress": progress}
        )
    assert steps == [1, 2, 3]


def test_a_callback_may_use_other_models(many: np.ndarray, small: igpt.Model) -> None:
    found = []
    igpt.pretrain(many, steps=2, callback=lambda _: found.append(small.sample(1)), **QUICK)
    assert len(found) > 2


def test_a_run_directory_has_the_model_metrics_and_checkpoints(run: Path) -> None:
    for name in ("model/model.safetensors", "metrics.jsonl", "checkpoints", "config.resolved.toml", "summary.json"):
        assert (run / name).exists()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows


def test_a_run_directory_is_not_overwritten(run: Path, many: np.ndarray) -> None:
    before = (run / "model" / "model.safetensors").read_bytes()
    with pytest.raises((ValueError, igpt.Error), match="(?s)small.*resume"):
        igpt.pretrain(many, run, steps=2, **QUICK)
    assert (run / "model" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("seed", [0, 5])
def test_a_stopped_run_goes_on_to_the_weights_of_an_uninterrupted_one(many: np.ndarray, tmp_path: Path, seed: int) -> None:
    whole = igpt.pretrain(many, tmp_path / "whole", steps=8, seed=seed, **QUICK)
    with pytest.raises(Stop):
        igpt.pretrain(many, tmp_path / "parts", steps=8, seed=seed, callback=stop_at(3), **QUICK)
    steps: list[int] = []
    model = igpt.pretrain(
        many,
        tmp_path / "parts",
        resume=True,
        progress=False,
        callback=lambda event: steps.append(event["step"]) if event["event"] == "step" else None,
    )
    assert steps == [4, 5, 6, 7, 8]
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert same(model.log_likelihood(many[:4]), whole.log_likelihood(many[:4]))


def test_a_run_goes_on_where_the_same_arguments_are_given_again(many: np.ndarray, tmp_path: Path) -> None:
    arguments = {**QUICK, "steps": 6, "seed": 3}
    whole = igpt.pretrain(many, tmp_path / "whole", **arguments)
    with pytest.raises(Stop):
        igpt.pretrain(many, tmp_path / "parts", callback=stop_at(2), **arguments)
    model = igpt.pretrain(many, tmp_path / "parts", resume=True, **arguments)
    assert same(model.log_likelihood(many[:4]), whole.log_likelihood(many[:4]))


def test_a_run_that_is_over_is_extended_by_a_budget(many: np.ndarray, tmp_path: Path) -> None:
    igpt.pretrain(many, tmp_path / "run", steps=2, **QUICK)
    steps: list[int] = []
    igpt.pretrain(
        many,
        tmp_path / "run",
        extend=True,
        steps=3,
        progress=False,
        callback=lambda event: steps.append(event["step"]) if event["event"] == "step" else None,
    )
    assert steps == [3, 4, 5]
    with pytest.raises(ValueError, match="one of steps="):
        igpt.pretrain(many, tmp_path / "run", extend=True, progress=False)
    with pytest.raises(ValueError, match="both"):
        igpt.pretrain(many, tmp_path / "run", extend=True, resume=True, steps=1, progress=False)


def test_validation_images_that_are_given_leave_all_others_to_training(many: np.ndarray, tmp_path: Path) -> None:
    igpt.pretrain(many, tmp_path / "run", validation=many[:3], steps=1, **QUICK)
    checkpoint = (tmp_path / "run" / "checkpoints" / "step-00000001" / "checkpoint.toml").read_text()
    assert f"train_images = {len(many)}\n" in checkpoint


def test_validation_images_of_a_data_set_with_parts_of_its_own_are_refused(small: igpt.Model, many: np.ndarray) -> None:
    with pytest.raises(ValueError, match="emoji has a part for it"):
        igpt.finetune(small, "emoji", validation=(many, np.arange(len(many)) % 2), steps=1, progress=False)


def test_fine_tuning_goes_on_from_a_model_in_memory(small: igpt.Model, many: np.ndarray, tmp_path: Path) -> None:
    labels = np.arange(len(many)) % 2
    arguments: dict[str, Any] = {"steps": 6, "progress": False, "settings": {"train.eval_images": 8}}
    whole = igpt.finetune(small, many, labels, tmp_path / "whole", **arguments)
    with pytest.raises(Stop):
        igpt.finetune(small, many, labels, tmp_path / "parts", callback=stop_at(2), **arguments)
    model = igpt.finetune(small, many, labels, tmp_path / "parts", resume=True, **arguments)
    assert same(model.predict_proba(many[:4]), whole.predict_proba(many[:4]))


def test_other_images_do_not_go_on_with_a_run(many: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        igpt.pretrain(many, tmp_path / "run", steps=6, callback=stop_at(2), **QUICK)
    with pytest.raises(ValueError, match="(?s)images|data"):
        igpt.pretrain(255 - many, tmp_path / "run", resume=True, progress=False)


def test_resuming_needs_a_run(many: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="out"):
        igpt.pretrain(many, resume=True, progress=False)
    with pytest.raises((FileNotFoundError, ValueError), match="nothing"):
        igpt.pretrain(many, tmp_path / "nothing", resume=True, progress=False)


def test_training_starts_from_the_weights_of_another_model(many: np.ndarray, run: Path) -> None:
    model = igpt.pretrain(many, steps=1, start=run, progress=False, settings={"train.eval_images": 8})
    assert (model.n_px, model.n_embd, model.n_layer) == ((8, 8), 16, 1)
    assert same(model.palette.colors, igpt.load(run).palette.colors)


def test_settings_take_any_key_of_a_config_file(many: np.ndarray, tmp_path: Path) -> None:
    rates = []
    igpt.pretrain(
        many,
        tmp_path / "run",
        steps=2,
        callback=lambda event: rates.append(event["lr"]) if event["event"] == "step" else None,
        **{**QUICK, "settings": {**SETTINGS, "train.lr": 1e-5, "train.sample_images": 0}},
    )
    assert max(rates) <= 1e-5
    assert not list((tmp_path / "run").glob("samples/*.png"))


def test_progress_is_shown_on_the_error_stream_alone(
    many: np.ndarray, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    igpt.pretrain(many, steps=2, **{**QUICK, "progress": True})
    out, err = capfd.readouterr()
    assert out == ""
    assert "2" in err
    igpt.pretrain(many, steps=2, **QUICK)
    assert capfd.readouterr() == ("", "")


class Bar:
    """What tqdm shows."""

    shown: list[Bar] = []

    def __init__(self, total: int, **_: Any) -> None:
        self.total, self.n, self.closed, self.told, self.losses = total, 0, False, [], []
        Bar.shown.append(self)

    def update(self, count: int) -> None:
        self.n += count

    def set_postfix(self, loss: str, **_: Any) -> None:
        self.losses.append(float(loss))

    def write(self, text: str, **_: Any) -> None:
        self.told.append(text)

    def close(self) -> None:
        self.closed = True


def test_progress_is_a_bar_of_tqdm_where_it_is_installed(
    many: np.ndarray, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("tqdm.auto")
    module.tqdm = Bar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    igpt.pretrain(many, steps=3, **{**QUICK, "progress": True})
    (bar,) = Bar.shown
    assert (bar.total, bar.n, bar.closed) == (3, 3, True)
    assert len(bar.losses) == 3
    assert "loss" not in capfd.readouterr().err


INTERRUPTED = """
import signal
import sys
import igpt
from shared import QUICK

# A shell leaves the signal ignored in what it starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

images = igpt.data.load("emoji", "train").images[::30][:80]

def callback(event):
    if event["event"] == "step" and event["step"] == 5:
        print("training", flush=True)

try:
    igpt.pretrain(images, sys.argv[1], steps=1_000_000, callback=callback, **QUICK)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_leaves_a_checkpoint_and_raises_keyboard_interrupt(many: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(out)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "training\n"
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60)[0] == "KeyboardInterrupt\n"
    assert child.returncode == 0
    saved = [int(path.name.split("-")[1]) for path in (out / "checkpoints").glob("step-*")]
    assert saved and max(saved) >= 5

    steps: list[int] = []

    def callback(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            steps.append(event["step"])
            raise Stop

    with pytest.raises(Stop):
        igpt.pretrain(many, out, resume=True, callback=callback, progress=False)
    assert steps == [max(saved) + 1]
