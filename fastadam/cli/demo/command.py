"""`fastadam demo`: train a small network on handwritten digits, and time its optimizer."""

import argparse
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bench.script import at_least, check_writable
from ..arguments import (
    Chosen,
    add_precision,
    merged,
    names_of_optimizers,
    optimizer,
    precision,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ...bench.digits import Clock, Epoch, Images
    from ...engine.flat import Flat
    from ...optimizer import Optimizer
    from ...schedules.base import Schedule

HELP = "train a small network on handwritten digits, and time its optimizer"

EPILOG = """\
examples:
  fastadam demo
  fastadam demo --optimizer adam --lr 0.003 --epochs 10
  fastadam demo --optimizer sgd:momentum=0.9,nesterov=True --lr 0.1
  fastadam demo --schedule one_cycle --lr 0.01
  fastadam demo --seed 7 --plot seed7.png
  fastadam demo --params bfloat16 --state int8 --compensation split8
  fastadam demo --params bfloat16 --rounding stochastic
  fastadam demo --epochs 10 --save run.safetensors
  fastadam demo --epochs 20 --resume run.safetensors

The network has 64 inputs, 128 hidden units (ReLU, dropout 0.2) and 10 outputs. Forward and
backward pass are plain NumPy, in float32 whatever the dtype of the weights; one fused step updates
all weights, which are in one buffer. Arrays of fewer than 4096 elements keep float32 state.
The images come with scikit-learn: nothing is downloaded. One seed always gives the same
numbers."""

PACKAGES = ("matplotlib", "rich", "sklearn")
PICTURES = (".png", ".pdf", ".svg")
HIGHEST_LR = 1000.0  # far above any with which an optimizer learns these digits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `fastadam demo`."""
    from ... import schedules

    shapes = {name.lower(): name for name in schedules.__all__}
    parser.epilog = EPILOG
    option = parser.add_argument
    option(
        "--optimizer",
        type=optimizer,
        default="AdamW",
        metavar="NAME",
        help=names_of_optimizers(matrices=False),
    )
    option("--epochs", type=at_least(1), default=30, metavar="N", help="passes over the images")
    option("--lr", type=float, metavar="X", help="learning rate (default: the optimizer's own)")
    option(
        "--schedule",
        type=lambda name: shapes.get(name.lower(), name),
        choices=schedules.__all__,
        default="constant",
        metavar="NAME",
        help=f"learning-rate schedule: {', '.join(schedules.__all__)}",
    )
    option("--batch", type=at_least(1), default=32, metavar="N", help="images per step")
    option(
        "--seed",
        type=at_least(0),
        default=0,
        metavar="N",
        help="random seed (weights, order, dropout, noise)",
    )
    add_precision(option, "params", "state", "compensation", "rounding")
    option(
        "--plot",
        type=_picture,
        default=Path("fastadam-demo.png"),
        metavar="PATH",
        help="where to save the learning curve",
    )
    option(
        "--save",
        type=Path,
        metavar="FILE",
        help="write a checkpoint to this file after each epoch, in place of the one before",
    )
    option(
        "--resume",
        type=Path,
        metavar="FILE",
        help="continue from a checkpoint, up to --epochs; give the other options of its run again",
    )
    option(
        "--data",
        type=Path,
        metavar="FILE",
        help="only write the images, for programs in other languages: two counts of images "
        "(training, validation) as int32, 64 pixels of each as float32, digits as int32",
    )
    option(
        "--threads",
        type=at_least(1),
        metavar="N",
        help="most threads per step (default: all); a network as small as this one uses one",
    )


def _picture(text: str) -> Path:
    """The name of a picture that can be saved."""
    path = Path(text).expanduser()
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(PICTURES)}")
    return path


@np.errstate(over="ignore", invalid="ignore")  # a run that diverges shows it in its table
def run(arguments: argparse.Namespace) -> int:
    """Train, draw, compare, report."""
    if arguments.data:
        return _write(arguments.data)
    for name in PACKAGES:  # a missing one is reported before the work
        import_module(name)
    check(arguments)
    from rich.console import Console

    from ...bench.digits import Clock, load
    from .learning_curve import draw

    console, clock = Console(highlight=False, soft_wrap=True), Clock()
    rng, data = np.random.default_rng(arguments.seed), load()
    steps = arguments.epochs * -(-len(data[0].labels) // arguments.batch)
    opt, params = _optimizer(arguments, steps, rng)
    history = _resumed(arguments, opt, rng)
    _prepare(console, opt)
    _train(console, opt, data, history, rng, arguments, clock)
    headline = _headline(_label(arguments), history)
    draw(history, headline, arguments.plot)
    console.print(f"\n[bold]{headline}[/]")
    console.print(_cost(opt, params, clock))
    console.print(_memory(opt))
    console.print(f"Learning curve: {arguments.plot.resolve()}", markup=False)
    if arguments.save:
        console.print(f"Checkpoint: {arguments.save.resolve()}", markup=False)
    return 0


def _write(path: Path) -> int:
    from ...bench.digits import write

    check_writable("--data", path)
    write(path)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


def _optimizer(
    arguments: argparse.Namespace, steps: int, rng: np.random.Generator
) -> "tuple[Optimizer, Flat]":
    """The optimizer, and the weights that it updates, in one buffer."""
    from ... import optimizers
    from ...bench.digits import layers
    from ...engine.flat import flatten
    from ...memory.dtypes import named

    params = flatten(layers(rng, named(arguments.params or "float32")))
    make, keywords = getattr(optimizers, arguments.optimizer.name), _keywords(arguments)
    lr = _schedules(keywords.pop("lr"), steps)[arguments.schedule]
    return make(params, lr, **keywords), params


def _keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """Keywords of the optimizer, the learning rate among them.

    Raises:
        ValueError: if one is given twice.
    """
    from ... import optimizers

    name, keywords = arguments.optimizer
    given = {each: getattr(arguments, each) for each in ("lr", "threads")}
    given = {each: value for each, value in given.items() if value is not None}
    defaults = {"lr": getattr(optimizers, name).defaults["lr"], "seed": arguments.seed}
    return defaults | merged(keywords, given, precision(arguments))


def check(arguments: argparse.Namespace) -> None:
    """Refuse numbers with which training cannot work, and a picture that cannot be written.

    Raises:
        ValueError: with a fix.
    """
    from ...bench.digits import TRAINING

    lr = _keywords(arguments)["lr"]
    if isinstance(lr, int | float) and lr > HIGHEST_LR:
        raise ValueError(f"lr={lr:g} is more than {HIGHEST_LR:g}; most optimizers want 1e-4 to 1")
    if arguments.batch > TRAINING:
        raise ValueError(
            f"--batch: {arguments.batch} is more than the {TRAINING} images of training"
        )
    check_writable("--plot", arguments.plot)
    if arguments.save:
        check_writable("--save", arguments.save)


def _resumed(
    arguments: argparse.Namespace, opt: "Optimizer", rng: np.random.Generator
) -> "list[Epoch]":
    """The epochs of the run that is continued, once its checkpoint is loaded."""
    from .resuming import resume

    return resume(arguments.resume, opt, rng, arguments.epochs) if arguments.resume else []


def _schedules(lr: float, steps: int) -> "dict[str, Schedule]":
    """Every schedule, over the steps of the demo; a twentieth of them is warm-up where it helps."""
    from ... import schedules as s

    warmup = steps // 20
    half, third, fifth = (-(-(steps - warmup) // parts) for parts in (2, 3, 5))
    made: list[Schedule] = [
        s.Plateau(lr, factor=0.5, patience=1, warmup=warmup),
        s.constant(lr),
        s.cosine(lr, steps=steps, warmup=warmup),
        s.cosine_restarts(lr, period=third, warmup=warmup),
        s.exponential(lr, gamma=0.1 ** (1 / steps), warmup=warmup),
        s.inverse_time(lr, decay=9 / steps, warmup=warmup),
        s.inverse_sqrt(lr, timescale=max(1, steps / 15), warmup=warmup),
        s.join([s.constant(lr), s.cosine(lr, steps=half)], [half], warmup=warmup),
        s.linear(lr, end=0, steps=steps, warmup=warmup),
        s.one_cycle(lr, steps=steps),
        s.piecewise(lr, {half: 0.3, half + third: 0.3}, warmup=warmup),
        s.polynomial(lr, steps=steps, power=2, warmup=warmup),
        s.step_decay(lr, every=third, warmup=warmup),
        s.wsd(lr, steps=steps, decay=fifth, warmup=warmup),
    ]
    return {type(schedule).__name__: schedule for schedule in made}


def _prepare(console: "Console", opt: "Optimizer") -> None:
    """Compile, or load from the cache, and print the waiting time."""
    from ...optimizers.warmup import warmup

    console.print("Preparing the kernel (compiled once, a second or so; then cached) ...", end=" ")
    start = perf_counter()
    warmup(opt)
    console.print(f"ready in {perf_counter() - start:.1f} s\n")


def _train(
    console: "Console",
    opt: "Optimizer",
    data: "tuple[Images, Images]",
    history: "list[Epoch]",
    rng: np.random.Generator,
    arguments: argparse.Namespace,
    clock: "Clock",
) -> None:
    """Train with a progress bar; print a line and write the checkpoint as each epoch ends."""
    from rich.progress import Progress

    from ...bench.digits import train
    from ...schedules import Plateau
    from .resuming import save

    schedule = opt.param_groups[0]["lr"]
    steps = (arguments.epochs - len(history)) * -(-len(data[0].labels) // arguments.batch)
    console.print(f"Learning rate: {schedule}\n", markup=False)
    console.print(
        "[bold]epoch         lr    training loss  accuracy    validation loss  accuracy[/]"
    )
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=steps)
        saving = progress.add_task("saving", total=1, visible=bool(arguments.save))
        for epoch in train(
            opt,
            data,
            rng,
            epochs=arguments.epochs,
            done=len(history),
            batch=arguments.batch,
            clock=clock,
            after_batch=lambda: progress.advance(task),
        ):
            history.append(epoch)
            if isinstance(schedule, Plateau):
                schedule.update(epoch.valid.loss)
            progress.console.print(_row(epoch))
            if arguments.save:
                save(
                    arguments.save,
                    opt,
                    rng,
                    history,
                    lambda done, total: progress.update(saving, completed=done, total=total),
                )


def _row(epoch: "Epoch") -> str:
    """A line of the table."""
    number, train, valid, lr = epoch
    return (
        f"{number:5d}  {lr:9.3g}    {train.loss:13.4f}  {train.accuracy:8.1%}    "
        f"{valid.loss:15.4f}  {valid.accuracy:8.1%}"
    )


def told(chosen: "Chosen") -> str:
    """An optimizer with its keywords, as it is written on the command line."""
    keywords = ",".join(f"{name}={value}" for name, value in chosen.keywords.items())
    return f"{chosen.name}:{keywords}".rstrip(":")


def _label(arguments: argparse.Namespace) -> str:
    """The optimizer, and the formats that are not the usual ones."""
    given = {
        f"{arguments.params} parameters": arguments.params,
        f"{arguments.state} state": arguments.state,
        f"{arguments.compensation} compensation": arguments.compensation,
        f"{arguments.rounding} rounding": arguments.rounding,
    }
    return ", ".join([told(arguments.optimizer), *(text for text, value in given.items() if value)])


def _headline(optimizer: str, history: "list[Epoch]") -> str:
    plural = "s" if len(history) > 1 else ""
    accuracy = history[-1].valid.accuracy
    return f"{optimizer}: {accuracy:.1%} validation accuracy after {len(history)} epoch{plural}"


def _cost(opt: "Optimizer", params: "Flat", clock: "Clock") -> str:
    """The share of the optimizer in the training time, with fastadam and with plain NumPy."""
    from .comparison import compare

    share, seconds = clock.steps / clock.batches, compare(opt, params)
    if seconds is None:
        return f"Optimizer: {share:.0%} of the training time."
    times = seconds.unfused / seconds.fused
    unfused = clock.steps * times
    instead = unfused / (clock.batches - clock.steps + unfused)
    return (
        f"Optimizer: {seconds.fused * 1e6:.1f} us per step with fastadam, "
        f"{seconds.unfused * 1e6:.1f} us with plain NumPy ({times:.1f}x). "
        f"That is {share:.0%} of the training time instead of {instead:.0%}."
    )


def _memory(opt: "Optimizer") -> str:
    """Memory of parameters and optimizer."""
    from ...engine.budget import shown

    kept = opt.memory()
    parts = {"parameters": kept.params, "state": kept.state, "compensation": kept.compensation}
    text = ", ".join(f"{shown(nbytes)} of {name}" for name, nbytes in parts.items() if nbytes)
    if not kept.plain or kept.dtypes == kept.plain.dtypes:
        return f"It keeps {text}."
    plain = f"{shown(kept.plain.params)} of parameters, {shown(kept.plain.state)} of state"
    return f"It keeps {text}; in float32 these are {plain}."
