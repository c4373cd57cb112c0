"""Training a detector with a memory on clips of a synthetic city, and testing it drive by drive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from perception.datasets.nuscenes import NuScenesDataset
from perception.engine.build import build_runner
from perception.engine.config import load_config
from perception.engine.runner import Runner

CONFIG = Path(__file__).resolve().parents[2] / "configs/flatformer/flatformer_synthetic_memory.py"


def runner(root: Path, work_dir: Path, **options: object) -> Runner:
    changes = {"data_root": str(root), "max_iters": 2, "clip_length": 2, "device": "cpu", "num_threads": 1,
               "default_hooks.scalars.interval": 1, "val_dataloader.num_workers": 0, **options}
    return build_runner(load_config(CONFIG, changes), work_dir, seed=0)


def predicted(run: Runner) -> list[tuple[str, torch.Tensor]]:
    """Tokens and scores of the frames that a test predicts, in its order."""
    kept: list[tuple[str, torch.Tensor]] = []
    loop = run.test_loop
    loop.evaluator.process = lambda data_samples, data_batch: kept.extend((s.token, s.scores) for s in data_samples)
    loop.evaluator.evaluate = lambda size: {"frames": size}
    run.load_or_resume()
    assert loop.run()["frames"] == len(kept)
    return kept


@pytest.fixture(scope="module")
def trained(towns_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("memory")
    runner(towns_root, folder, val_dataloader=None).train()
    return folder


def test_two_steps_on_clips_give_finite_losses_and_gradients(trained: Path):
    rows = [json.loads(line) for line in (trained / "scalars.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(row["loss"] is not None and row["grad_norm"] is not None for row in rows)     # None where not finite


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_test_goes_through_drives_in_order_with_a_memory_of_each(trained: Path, towns_root: Path, batch_size: int):
    options = {"load_from": str(trained / "iter_2.pth"), "test_dataloader.batch_size": batch_size,
               "test_dataloader.num_workers": 0, "model.head.coder.score_threshold": 0.0}
    run = runner(towns_root, trained / f"test_{batch_size}", **options)
    kept = predicted(run)
    data: NuScenesDataset = run.test_loop.dataloader.dataset
    assert [token for token, _ in kept] == list(data.frame_tokens)
    model, state = run.model, None
    for index, (_, scores) in enumerate(kept):
        begins = index == 0 or data.scenes[index] != data.scenes[index - 1]
        with torch.no_grad():
            batch = model.data_preprocessor([data[index]])
            (streamed,), state = model.predict_stream(**batch, state=None if begins else state)
            (alone,) = model(**batch, mode="predict")
        torch.testing.assert_close(scores, streamed.scores, atol=1e-5, rtol=1e-4)
        assert torch.equal(alone.scores, streamed.scores) == begins
