"""Laps of training and what comes of them, as a worker process runs them."""

import hashlib
from pathlib import Path

import torch

from chorale_generation.checking import check
from chorale_generation.checkpoints import written
from chorale_generation.training.asked import CodecTeaching, Finished, Lap, Teaching
from chorale_generation.training.cascade_lesson import CascadeLesson, pairs_of
from chorale_generation.training.codec_lesson import CodecLesson
from chorale_generation.training.loop import best_weights, learn

_LAST_STEP = 1 << 62


def lap(teaching: Teaching, path: str, seconds: float) -> Lap:
    """Trains for about so many seconds, at least one step, from the file to the file."""
    lesson = _lesson(teaching, is_first=not Path(path).exists())
    return learn(lesson, teaching.plan, path, seconds)


def finish(teaching: Teaching, path: str, model_path: str, model: str) -> Finished:
    """Writes the best model as safetensors, and measures it.

    Raises `NotTrained` for a codec whose quantiser never joined, and for a cascade that returns
    what it is given.
    """
    lesson = _lesson(teaching, is_first=False)
    weights = best_weights(path)
    lesson.model.load_state_dict(weights)
    data = written(weights)
    Path(model_path).write_bytes(data)
    check(model_path, Path(model_path).name, "encodec-cascade", model)
    lesson.model.eval()
    with torch.inference_mode():
        metrics = {"validation_loss": lesson.validation_loss(_LAST_STEP), **lesson.figures()}
    metrics["parameter_count"] = float(sum(each.numel() for each in lesson.model.parameters()))
    return Finished(hashlib.sha256(data).hexdigest(), len(data), metrics)


def _lesson(teaching: Teaching, is_first: bool) -> CodecLesson | CascadeLesson:
    if isinstance(teaching, CodecTeaching):
        return CodecLesson(teaching.corpus, teaching.plan, teaching.wishes)
    return CascadeLesson(pairs_of(teaching.directory), teaching.plan, teaching.start, is_first)
