"""The training engine: one loop for every task and model, on Accelerate for devices, precision and processes.

The order of the images comes from (seed, epoch), the augmentation of a batch and its dropout from (seed, epoch, step).
So a step can be computed again without those before it, and a training that goes on from a saved state needs no more
than weights, optimizer, schedule and its place to end with the same bits.
"""

import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate.utils import broadcast, broadcast_object_list
from loguru import logger
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from Resnet23.config import TrainParams
from Resnet23.dataset import FeatureDataset
from Resnet23.errors import Diverged, Terminated
from Resnet23.history import EpochRecord
from Resnet23.interrupts import deferred_signals, dvc_process, has_ended
from Resnet23.modeling.batches import Batch, BatchSource
from Resnet23.modeling.device import create_accelerator, seed_dropout, uses_compilation, without_crashes
from Resnet23.modeling.evaluate import evaluate
from Resnet23.modeling.losses import Task
from Resnet23.modeling.meter import EpochMeter
from Resnet23.modeling.optim import create_optimizer, create_schedule
from Resnet23.modeling.phases import Phase, phase_of, resolve_phases
from Resnet23.modeling.resume import NOT_SAVED, ResumeFile
from Resnet23.modeling.selection import FitResult
from Resnet23.modeling.shares import shares
from Resnet23.modeling.stages import freeze, train_mode

LOOK_SECONDS = 0.2  # between looks at the losses, for which a GPU has to wait, and at what else goes on
AGREE_STEPS = 8  # between questions whether any process is to stop, for which GPUs have to wait

EpochWatcher = Callable[[EpochRecord], None]
GradientWatcher = Callable[[int, nn.Module], None]  # epoch, and the network with the gradients of its last step


def fit(
    model: nn.Module,
    train_data: FeatureDataset,
    val_data: FeatureDataset | None,
    task: Task,
    classes: int,
    params: TrainParams,
    seed: int,
    on_epoch: EpochWatcher = lambda record: None,
    on_gradients: GradientWatcher | None = None,
    resume: ResumeFile = NOT_SAVED,
) -> FitResult:
    """Train `model` in place and choose an epoch: the one best on validation, or the last when `val_data` is None.

    Goes on from the state in `resume` where there is one, and keeps it up to date: every `checkpoint_minutes` or
    `checkpoint_steps`, and when SIGINT or SIGTERM arrives. Calls `on_epoch` after every epoch and `on_gradients` before
    the last optimizer step of each. Raises Diverged when the loss or a weight is no longer a finite number.
    """
    training = Training(model, train_data, val_data, task, classes, params, seed, resume)
    training.load()
    with training.progress_bar() as bar:
        try:
            while not training.is_finished():
                training.train_epoch(bar, on_gradients)
                record = training.end_epoch()
                with deferred_signals():  # an epoch that is done is reported
                    on_epoch(record)
            training.save()  # whoever writes the results may be interrupted, too
        except (Terminated, KeyboardInterrupt):
            training.save()
            raise
    return training.result


class Training:
    """A training under way: network, moving average, optimizer, schedule, and the place that it has reached.

    `epoch` counts from 1, `step` the batches of the epoch that are done; `result` holds the epochs that are.
    """

    def __init__(
        self,
        model: nn.Module,
        data: FeatureDataset,
        val_data: FeatureDataset | None,
        task: Task,
        classes: int,
        params: TrainParams,
        seed: int,
        resume: ResumeFile = NOT_SAVED,
    ) -> None:
        self.accelerator, how = create_accelerator(params)
        self.processes, self.process = self.accelerator.num_processes, self.accelerator.process_index
        self.device = self.accelerator.device
        params = without_crashes(params, model, self.device)
        self.data, self.val_data, self.task, self.params, self.seed = data, val_data, task, params, seed
        self.source = BatchSource(data, task, classes, params, seed, self.device, self.processes, self.process)
        self.phases = resolve_phases(params)
        logger.info(f"training on {how}: {len(data):,} images, {self.phases[-1].last} epochs")
        self._place_network(model)
        self.phase: Phase | None = None
        self.epoch, self.step, self.result = 1, 0, FitResult()
        self.meter = EpochMeter(self.epoch, self.device)
        self.resume, self.saved, self.saved_at = resume, (1, 0), time.monotonic()
        self.looked_at, self.dvc, self.dvc_is_gone = time.monotonic(), dvc_process(), False

    def _place_network(self, model: nn.Module) -> None:
        """The network to train, and beside it what is evaluated and saved: a plain twin, no wrapper around it.

        Without `ema_decay` the twin is a copy, brought up to date once an epoch; with it, a moving average.
        """
        order = torch.channels_last if self.params.channels_last else torch.preserve_format
        model = model.to(self.device, memory_format=order)
        average = get_ema_multi_avg_fn(self.params.ema_decay)
        self.average = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        if self.processes > 1 and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # there is none for a CPU
        if uses_compilation(self.params, self.device):
            model.compile()
        self.network = self.model = model
        for phase in self.phases:  # an unknown stage is found now, not after hours
            freeze(model, phase.trainable)

    def enter_phase(self, phase: Phase) -> None:
        """Freeze what the phase leaves alone; at its beginning make optimizer, schedule and wrapping anew."""
        if phase != self.phase:
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.accelerator.free_memory()
            stages = freeze(self.network, phase.trainable)
            optimizer = create_optimizer(stages, self.params, phase.learning_rate, phase.rate_decay_by_depth)
            self.schedule = create_schedule(optimizer, self.params, len(self.source), phase.epochs * len(self.source))
            self.model, self.optimizer = self.accelerator.prepare(self.network, optimizer)
            self.phase = phase
        train_mode(self.network, phase.trainable, phase.freeze_statistics)

    def is_finished(self) -> bool:
        """Whether all epochs are done, or validation has not improved for `patience` epochs."""
        out_of_patience = 0 < self.params.patience <= self.result.epochs_without_progress()
        return self.epoch > self.phases[-1].last or out_of_patience

    def train_epoch(self, bar: tqdm, on_gradients: GradientWatcher | None = None) -> None:
        """Train to the end of the epoch. When asked to stop, save the state and raise Terminated."""
        with deferred_signals() as arrived:
            self.enter_phase(phase_of(self.phases, self.epoch))
            batches = self.source.epoch(self.epoch, self.step, self.phase.resolution)
            self.meter.start_clock()
            while self.step < len(self.source):
                started = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - started
                learning_rate = max(self.schedule.get_last_lr())
                is_last = self.step + 1 == len(self.source)
                loss = self.train_batch(batch, on_gradients if is_last else None)
                self.meter.end_step(self.step, learning_rate, loss, waited)
                self.step += 1
                self._show(bar, batch.total)
                if self._save_or_stop(arrived):
                    break
            self.meter.check()  # waits for the GPU, so that the clock shows the work and not its announcement
            self.meter.read_clock()
        if self.step < len(self.source):  # another process was told to stop, or DVC is gone
            raise Terminated(signal.SIGTERM)
        self._gather_sums()  # a state that is saved while validation runs holds them

    def train_batch(self, batch: Batch, on_gradients: GradientWatcher | None = None) -> Tensor:
        """One optimizer step, its gradient computed in `accumulation` parts by each process; the loss summed here."""
        seed_dropout(self.device, self.seed, self.epoch, self.step, self.process)
        # Accelerate averages the gradients of the processes; with this an image counts the same in each of them.
        scale = self.processes / batch.total if batch.count else 0.0
        # The same number in every process, and no part of one image, as BatchNorm has no variance to learn from that.
        most = batch.total // self.processes // 2
        parts = shares(len(batch.inputs), max(1, min(self.params.accumulation, most)))
        sums = torch.zeros((), device=self.device)
        for part in parts:
            inputs, targets = batch.inputs[part], batch.targets[part]
            with nullcontext() if part is parts[-1] else self.accelerator.no_sync(self.model):
                logits = self.model(inputs)
                loss = self.task.loss(logits, targets, self.params.label_smoothing).sum()
                self.accelerator.backward(loss * scale)
            logits = logits.detach()[: batch.count]
            plain_loss = self.task.loss(logits, targets[: batch.count], 0.0).sum()  # comparable with validation
            self.meter.add(plain_loss, self.task.correct(logits, targets[: batch.count]).sum())
            sums += plain_loss
        self._update_weights(on_gradients)
        return sums

    def _update_weights(self, on_gradients: GradientWatcher | None) -> None:
        self.accelerator.unscale_gradients()
        if on_gradients:
            on_gradients(self.epoch, self.network)
        if self.params.clip_value:
            nn.utils.clip_grad_value_(self.network.parameters(), self.params.clip_value)
        if self.params.clip_norm:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.params.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if not self.accelerator.optimizer_step_was_skipped:  # as the loss scaling of fp16 may do
            self.schedule.step()
            if self.params.ema_decay:
                self.average.update_parameters(self.network)

    def end_epoch(self) -> EpochRecord:
        """Validate, record the epoch, keep its weights if they are to be kept, and move on to the next."""
        self._check_weights()
        if not self.params.ema_decay:
            self.average.update_parameters(self.network)
        if self.processes > 1:  # each has BatchNorm statistics of its own; those of the first are kept
            broadcast(list(self.average.module.buffers()))
        validation = None
        if self.val_data is not None:
            size = self.params.batch_size
            validation = evaluate(
                self.average.module, self.val_data, self.task, size, self.device, self.processes, self.process
            )
            if not math.isfinite(validation.loss):
                raise self._diverged("the validation loss")
        loss, accuracy = (self.accelerator.reduce(self.meter.sums) / len(self.data)).tolist()
        validated = (validation.loss, validation.accuracy) if validation else (None, None)
        rate, seconds, waited = self.meter.learning_rate, self.meter.seconds, self.meter.waited
        speed, val_mAP = len(self.data) / seconds, validation.mAP if validation else None
        record = EpochRecord(self.epoch, loss, accuracy, *validated, rate, seconds, speed, waited / seconds, val_mAP)
        with deferred_signals():  # all of it or nothing
            self.result.add(record, self.average.module, validation)
            self.epoch, self.step = self.epoch + 1, 0
            self.meter = EpochMeter(self.epoch, self.device)
        return record

    def progress_bar(self) -> tqdm:
        """A bar that counts the images of all epochs, on the process that shows it."""
        done = (self.epoch - 1) * len(self.data) + self.step * self.params.batch_size
        total = self.phases[-1].last * len(self.data)
        return tqdm(total=total, initial=done, unit="image", disable=None if self.process == 0 else True)

    def _show(self, bar: tqdm, images: int) -> None:
        """Bring the bar up to date and, now and then, look whether the losses are finite."""
        bar.update(images)
        if time.monotonic() - self.looked_at >= LOOK_SECONDS:
            self.looked_at = time.monotonic()
            self.dvc_is_gone = self.dvc is not None and has_ended(self.dvc)
            self.meter.check()
            bar.set_description(f"epoch {self.epoch}/{self.phases[-1].last}", refresh=False)
            bar.set_postfix(loss=f"{self.meter.last_loss / images:.3f}", refresh=False)

    def _save_or_stop(self, arrived: Sequence[int]) -> bool:
        """Save the state when it is time to; whether to stop, on which all processes agree."""
        every, steps = self.params.checkpoint_steps, (self.epoch - 1) * len(self.source) + self.step
        counted = every is not None and steps % every == 0
        if self.processes > 1 and not counted and steps % AGREE_STEPS:
            return False
        is_due = counted or time.monotonic() - self.saved_at >= 60 * self.params.checkpoint_minutes
        flags = [bool(arrived) or self.dvc_is_gone, is_due]
        if self.processes > 1:
            flags = (self.accelerator.reduce(torch.tensor(flags, device=self.device).int()) > 0).tolist()
        if any(flags):
            self._gather_sums()
            self.save()
        return flags[0]

    def _gather_sums(self) -> None:
        """Bring what all processes have counted to the first one, which saves it."""
        sums = self.accelerator.reduce(self.meter.sums)
        self.meter.sums = sums if self.process == 0 else torch.zeros_like(sums)

    def save(self) -> None:
        """Save the state, on the first process, unless it has been saved at this place."""
        if self.saved == (self.epoch, self.step):
            return
        self.meter.check()
        self._check_weights()
        if self.process == 0:
            self.resume.save(self._state_dict())
        self.saved, self.saved_at = (self.epoch, self.step), time.monotonic()

    def _check_weights(self) -> None:
        """Raise Diverged when a weight or a running statistic of the network is not a finite number.

        The losses do not tell of the last step: none has been computed with the weights that it made.
        """
        buffers = self.network.named_buffers()  # among them may be masks, which are infinite
        values = [*self.network.parameters(), *(value for name, value in buffers if "running_" in name)]
        broken = (~torch.stack([value.isfinite().all() for value in values]).all()).int()
        if self.processes > 1:  # each has statistics of its own; all of them end, or none
            broken = self.accelerator.reduce(broken)
        if broken:  # a GPU is waited for once
            raise self._diverged("a weight")

    def _diverged(self, what: str) -> Diverged:
        """The error of a training whose last step has made `what` infinite or no number."""
        return Diverged(
            f"{what} is not a finite number at epoch {self.epoch}, step {self.step}, "
            f"learning rate {self.meter.learning_rate:g}; try a lower train.learning_rate"
        )

    def load(self) -> None:
        """Go on from the saved state, if there is one."""
        state = broadcast_object_list([self.resume.load() if self.process == 0 else None])[0]
        if state is None:
            return
        self.epoch, self.step = self.saved = state["epoch"], state["step"]
        self.meter = EpochMeter(self.epoch, self.device)
        self.meter.load_state_dict(state["meter"])
        if self.process > 0:  # the saved sums are those of all processes
            self.meter.sums.zero_()
        self.enter_phase(phase_of(self.phases, state["phase"]))  # at a boundary still the one that has ended
        for name, part in self._stateful_parts().items():
            part.load_state_dict(state[name])
        self.result = FitResult.from_plain(state["result"])
        logger.info(f"going on from the saved state: epoch {self.epoch}, after step {self.step} of {len(self.source)}")

    def _stateful_parts(self) -> dict[str, Any]:
        """What has a state_dict of its own."""
        names = ("network", "average", "optimizer", "schedule")
        scaler = {"scaler": self.accelerator.scaler} if self.accelerator.scaler else {}
        return {name: getattr(self, name) for name in names} | scaler

    def _state_dict(self) -> dict[str, Any]:
        """Plain values and tensors from which `load` goes on. No random states: each step has its own."""
        state = {name: part.state_dict() for name, part in self._stateful_parts().items()}
        state |= {"meter": self.meter.state_dict(), "result": self.result.to_plain()}
        return state | {"phase": self.phase.first, "epoch": self.epoch, "step": self.step}
