"""What codec and cascade cost beside the package's own in eager mode, and what a GPU adds.

    python -m bench.generation_cascade [--gpu]

CPU seconds of one thread, in turns. The yardstick is `encodec` as it is built, in fp32, and the
cascade's layers as torch runs them by default. `--gpu` asks for a GPU and measures batches of
requests beside one after another; without a GPU it says so.
"""

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

import torch
from chorale_generation.cascade import codec, making, network
from chorale_generation.cascade.swift import swift

from bench.children import in_turns
from bench.generation_batching import served
from bench.ratios import Bound, Ratio, report

ROUNDS, SECONDS = 4, 16.0
_CODEC_SECONDS = 4
_STEPS = round(SECONDS * codec.STEPS_PER_SECOND)
_DECODE_MOST, _CASCADE_MOST, _BATCH_LEAST, _SLOWER_MOST = 0.85, 0.5, 3.0, 1.2
_BATCH, _REQUESTS = 8, 32


def main() -> int:
    """Measures; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="measure on the GPU")
    if parser.parse_args().gpu:
        return _gpu()
    torch.set_num_threads(1)
    # What torch does by default takes much longer before glibc has learned to keep large blocks.
    begun = _cascade("in a process that has just begun")
    return report([begun, *_codec(), _cascade("in one that is warm"), *_batches()])


def _models() -> tuple[making.Models, making.Models]:
    """The package's own codec, and the one that serves, of the same drawn weights."""
    torch.manual_seed(1)
    theirs, ours = codec.untrained(), codec.untrained()
    for name, value in theirs.state_dict().items():
        if name.endswith("_codebook.embed"):
            value.normal_()
    ours.load_state_dict(theirs.state_dict())
    cascade = network.Cascade(network.Shape(stage_count=1)).eval()
    for name, value in cascade.state_dict().items():
        if name.endswith("leaving.weight"):
            value.normal_(std=0.02)
    return making.Models(swift(ours), cascade), making.Models(theirs, cascade)


@torch.inference_mode()
def _codec() -> list[Ratio | Bound]:
    ours, theirs = _models()
    steps = torch.randn(1, codec.DIMENSION, _CODEC_SECONDS * codec.STEPS_PER_SECOND)
    sound = torch.randn(1, 1, _CODEC_SECONDS * codec.RATE_HZ) * 0.1
    decoded = _in_turns(lambda: ours.codec.decoder(steps), lambda: theirs.codec.decoder(steps))
    encoded = _in_turns(lambda: ours.codec.encoder(sound), lambda: theirs.codec.encoder(sound))
    apart = ours.codec.decoder(steps) - theirs.codec.decoder(steps)
    return [
        Ratio("decode 4 s, CPU s", *decoded, "s", at_most=_DECODE_MOST, typical=min),
        Ratio("encode 4 s, CPU s", *encoded, "s", at_most=1.0, typical=min),
        Bound("1e6 x largest difference of a frame", 1e6 * float(apart.abs().max()), "", 10.0),
    ]


@torch.inference_mode()
def _cascade(when: str) -> Ratio:
    """One stage over 16 s."""
    cascade = _models()[0].cascade
    one, other = torch.randn(2, 1, codec.DIMENSION, _STEPS)

    def eager() -> None:
        torch.backends.mha.set_fastpath_enabled(True)
        cascade(one, other)
        torch.backends.mha.set_fastpath_enabled(False)

    taken = _in_turns(lambda: cascade(one, other), eager)
    name = f"one stage over 16 s, {when}, CPU s"
    return Ratio(name, *taken, "s", at_most=_CASCADE_MOST, typical=min)


@torch.inference_mode()
def _batches() -> list[Ratio | Bound]:
    """What four requests at once give and cost beside one after another, on one thread."""
    models = _models()[0]
    steps = torch.randn(4, codec.DIMENSION, 75)
    together = models.codec.decoder(steps)
    apart = torch.cat([models.codec.decoder(each[None]) for each in steps])
    taken = _in_turns(
        lambda: [models.codec.decoder(each[None]) for each in steps],
        lambda: models.codec.decoder(steps),
    )
    return [
        Bound(
            "1e6 x batched less single, a frame",
            1e6 * float((together - apart).abs().max()),
            "",
            100.0,
        ),
        Ratio("one by one beside a batch of 4, CPU s", *taken, "s", typical=min),
    ]


def _gpu() -> int:
    if not torch.cuda.is_available():
        print("SKIPPED, NOT MEASURED: torch sees no GPU on this machine")
        return 0
    where = torch.device("cuda")
    models = _models()[1]
    models = making.Models(models.codec.to(where), models.cascade.to(where))
    print(f"     on {torch.cuda.get_device_name()}, torch {torch.__version__}")
    single, batch = ([_gpu_seconds(models, size) for _ in range(20)] for size in (1, _BATCH))
    frames = [1.0 / seconds for seconds in single], [_BATCH / seconds for seconds in batch]
    p95 = [sorted(taken)[18] for taken in (batch, single)]
    dynamic = asyncio.run(served("cuda:0", _BATCH, _REQUESTS))
    alone = asyncio.run(served("cuda:0", 1, _REQUESTS))
    return report(
        [
            Ratio(
                f"requests of 16 s per s, {_BATCH} at once",
                frames[1],
                frames[0],
                "/s",
                at_least=_BATCH_LEAST,
            ),
            Ratio(
                "95th percentile of a batch's time", [p95[0]], [p95[1]], "s", at_most=_SLOWER_MOST
            ),
            Ratio(
                f"{_REQUESTS} requests at once by the service's batcher, per s",
                [dynamic.requests_per_second],
                [alone.requests_per_second],
                "/s",
                at_least=_BATCH_LEAST,
            ),
            Ratio(
                "95th percentile of how long they took",
                [dynamic.p95_seconds],
                [alone.p95_seconds],
                "s",
                at_most=_SLOWER_MOST,
            ),
        ]
    )


@torch.inference_mode()
def _gpu_seconds(models: making.Models, size: int) -> float:
    """How long so many requests of 16 s take in one batch, from sound to sound."""
    sound = torch.randn(2 * size, 1, round(SECONDS * codec.RATE_HZ), device="cuda") * 0.1
    models.codec.set_target_bandwidth(6.0)
    torch.cuda.synchronize()
    begun = time.perf_counter()
    with torch.autocast("cuda", torch.float16):
        latents = making.encoded(models.codec, sound)
        made = models.codec.decoder(models.cascade(latents[:size], latents[size:]))
    made.float().cpu()
    return time.perf_counter() - begun


def _in_turns(
    ours: Callable[[], object], theirs: Callable[[], object]
) -> tuple[list[float], list[float]]:
    runs = {"ours": ours, "theirs": theirs}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for name in in_turns(ROUNDS, tuple(runs)):
        begun = time.thread_time()
        runs[name]()
        taken[name].append(time.thread_time() - begun)
    return taken["ours"], taken["theirs"]


if __name__ == "__main__":
    sys.exit(main())
