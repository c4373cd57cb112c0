"""Training by iterations, and evaluation; resuming continues with the very next batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import Evaluator
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop
from torch import nn

from ..errors import ConfigError
from ..registry import LOOPS
from .random_state import set_random_state, untouched_random_state
from .sampler import EpochSampler
from .worker_errors import batches_of


@LOOPS.register_module()
class IterationLoop(BaseLoop):
    """Trains for a number of iterations (forward passes), evaluating now and then.

    Args:
        runner: the runner.
        dataloader: config of the data loader, with an `EpochSampler`.
        max_iters: iterations; or
        max_epochs: passes over the sampler's epoch.
        val_interval: iterations between evaluations; the last iteration is always followed by one.
        val_begin: the first iteration after which there may be an evaluation.

    Raises:
        ConfigError: not one of max_iters and max_epochs is a whole number > 0, or the sampler is another.
    """

    def __init__(
        self, runner: Any, dataloader: Any, max_iters: int | None = None, max_epochs: int | None = None,
        val_interval: int = 1000, val_begin: int = 1,
    ) -> None:
        super().__init__(runner, dataloader)
        if (max_iters is None) == (max_epochs is None):
            raise ConfigError(f"train_cfg: give either max_iters or max_epochs, got {max_iters} and {max_epochs}")
        if not isinstance(self.dataloader.sampler, EpochSampler):
            raise ConfigError(
                f"train_dataloader.sampler: expected an EpochSampler, got {type(self.dataloader.sampler).__name__}"
            )
        self.sampler = self.dataloader.sampler
        self.batch_keys = (self.dataloader.batch_size or 1) * get_world_size()    # keys of a batch of all processes
        length = max_epochs if max_iters is None else max_iters
        if not isinstance(length, int) or length <= 0:
            raise ConfigError(f"train_cfg: expected a whole number of iterations or epochs > 0, got {length}")
        self.max_iters = -(-length * self.sampler.epoch_size // self.batch_keys) if max_iters is None else length
        self.val_interval, self.val_begin = val_interval, val_begin
        self.position = 0                          # keys that all processes have drawn so far
        self.resumed_random_state: dict[str, Any] | None = None
        self.stop_training = False
        self._iter = 0

    @property
    def iter(self) -> int:
        """Iterations done."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Epochs of the sampler that are over."""
        return self.position // self.sampler.epoch_size

    @property
    def max_epochs(self) -> int:
        """Epochs begun by the end."""
        return -(-self.max_iters * self.batch_keys // self.sampler.epoch_size)

    def state_after_iteration(self) -> dict[str, int]:
        """Where a run that is resumed after the current iteration goes on."""
        return {"iter": self._iter + 1, "position": self.position + self.batch_keys}

    def load_state(self, state: dict[str, int], random_state: dict[str, Any] | None) -> None:
        """Go on from `state_after_iteration`, with the random numbers of that moment if they are known."""
        self._iter, self.position = state["iter"], state["position"]
        self.resumed_random_state = random_state
        self.sampler.skip_to(self.position)

    def run(self) -> nn.Module:
        """Train to the end; returns the model."""
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        if self._iter > 0 and self._evaluation_due():
            self._evaluate()                       # the run may have been stopped in the midst of it
        batches = self._batches()
        while self._iter < self.max_iters and not self.stop_training:
            self.runner.model.train()
            self._train_on(next(batches))
            if self._evaluation_due():
                self._evaluate()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _batches(self) -> Iterator[Any]:
        """Batches without end. The random numbers of a resumed run are put back once the loader has started."""
        iterator = iter(self.dataloader)
        if self.resumed_random_state is not None:
            set_random_state(self.resumed_random_state)
        while True:
            yield from batches_of(iterator)
            self.sampler.set_epoch(self.sampler.epoch + 1)
            iterator = iter(self.dataloader)

    def step(self, batch: Any) -> dict[str, Any]:
        """Losses and gradients of a batch, and a step of the optimizer where one is due; gives what is logged."""
        return self.runner.model.train_step(batch, optim_wrapper=self.runner.optim_wrapper)

    def _train_on(self, batch: Any) -> None:
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=batch)
        outputs = self.step(batch)
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=batch, outputs=outputs)
        self._iter += 1
        self.position += self.batch_keys

    def _evaluation_due(self) -> bool:
        if self.runner.val_loop is None or self._iter < self.val_begin:
            return False
        return self._iter % self.val_interval == 0 or self._iter == self.max_iters

    def _evaluate(self) -> None:
        with untouched_random_state():
            self.runner.val_loop.run()


class _MetricLoop(BaseLoop):
    """Predicts every frame of a dataset once and computes metrics.

    A model with a memory gets what it knew behind one batch with the next: a batch is to be the next frames of one
    drive, or of one after the other, as a `SceneSampler` draws them.
    """

    stage: str

    def __init__(self, runner: Any, dataloader: Any, evaluator: Any) -> None:
        super().__init__(runner, dataloader)
        self.evaluator: Evaluator = evaluator if isinstance(evaluator, Evaluator) else runner.build_evaluator(evaluator)
        dataset = self.dataloader.dataset
        if len(dataset) == 0:
            raise ConfigError(f"{self.stage}_dataloader: the dataset is empty")
        classes = {"classes": getattr(dataset, "classes", ())}
        self.evaluator.dataset_meta = {**classes, **getattr(dataset, "metainfo", {})}

    @torch.no_grad()
    def run(self) -> dict[str, float]:
        """The metrics by name, the same in all processes."""
        self._call("before_{}")
        self._call("before_{}_epoch")
        self.runner.model.eval()
        state = None
        for index, batch in enumerate(batches_of(self.dataloader)):
            self._call("before_{}_iter", batch_idx=index, data_batch=batch)
            predictions, state = self._predict(batch, state)
            self.evaluator.process(data_samples=predictions, data_batch=batch)
            self._call("after_{}_iter", batch_idx=index, data_batch=batch, outputs=predictions)
        for metric in self.evaluator.metrics:
            if metric.collect_device == "cpu" and metric.collect_dir is None:
                metric.collect_dir = f"{self.runner.log_dir}/collected_{self.stage}"
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        self._call("after_{}_epoch", metrics=metrics)
        self._call("after_{}")
        return metrics

    def _predict(self, batch: Any, state: Any) -> tuple[Any, Any]:
        model = self.runner.model
        bare = model.module if is_model_wrapper(model) else model
        if getattr(bare, "memory", None) is None:
            return model.val_step(batch), None
        return bare.predict_stream(**bare.data_preprocessor(batch, False), state=state)

    def _call(self, hook: str, **kwargs: Any) -> None:
        self.runner.call_hook(hook.format(self.stage), **kwargs)


@LOOPS.register_module()
class EvaluationLoop(_MetricLoop):
    """The loop of ``val_cfg``."""

    stage = "val"


@LOOPS.register_module()
class PredictionLoop(_MetricLoop):
    """The loop of ``test_cfg``."""

    stage = "test"
