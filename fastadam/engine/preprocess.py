"""Work before an update: norms, finite check, micro-batches, and the numbers of options."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from ..kernels.commit import commit, write
from ..kernels.factory import Kernel
from ..kernels.formats import Formats
from ..kernels.transforms import STATE
from ..memory import checks
from ..memory.complex_numbers import as_reals
from .backend import as_array, backend_of
from .clipping import ClipFactor
from .grad_norm import GradNorm
from .launch import Launch
from .random_keys import RoundingKeys
from .scales import FAR, flag_of, unscale_of
from .step_context import StepContext, StepKind
from .step_inputs import TARGET

Verdict = Literal["update", "skip", "wait"]


class GradientPreprocessor:
    """Decides whether a step updates, and sets the numbers of options in the launches.

    Args:
        launches: the launches of the update, and of the passes before it, that read gradients.
        context: the arrays and settings of the steps.
        kind: the kind of the steps.

    Attributes:
        reading: all launches that read gradients.
        needed: True if every step needs `prepare`.
        direct: True if a step needs nothing but the norm.
        repeats: True if `again` replaces `prepare` for a step of plain gradients.
        norm: computes the norm of all gradients; None if no option needs it.
        clip: computes the clip factors; None without clipping.
        noise: sets the keys of random rounding at each step.
        kernels: the kernels of norms and micro-batches.
        launches: the launches of norms and micro-batches.
    """

    def __init__(self, launches: Sequence[Launch], context: StepContext, kind: StepKind) -> None:
        options, formats, accumulator = context.options, context.formats, context.accumulator
        self._partition, self._others = context.partition, context.partition or context.shards
        self._launches, self._options, self._accumulator = launches, options, accumulator
        self._dtypes = {each.compute for each in formats}
        self.norm = self._finite = None
        if options.measures:
            self.norm, self._finite = self._norms(context, kind)
        if accumulator:
            accumulator.expect(formats, kind.scaled)
        self.reading = [*launches, *(self.norm.launches if self.norm else ())]
        kept = context.streams
        for launch in self.reading:
            for name in filter(launch.has, kept):
                launch.place(name, checks.addresses(kept[name]))
        self.clip = self._clipping(context) if options.clips else None
        parts = dict.fromkeys((self.norm, self._finite, accumulator))
        self._parts = [part for part in parts if part]
        self.kernels: list[Kernel] = [k for part in self._parts for k in part.kernels]
        self.launches = [launch for part in self._parts for launch in part.launches]
        self.noise = RoundingKeys(launches, options.seed)
        self._started = [
            (launch, name)
            for launch in launches
            for name in launch.numbers
            if name.startswith(STATE)
        ]
        always = accumulator or self.noise or options.ema_warmup or self._started
        self.needed = bool(kind.scaled or options.measures or always)
        self._asks = bool(self.noise or options.ema_warmup or self._started)
        self._repeatable = not (kind.scaled or accumulator or self._others)
        self.repeats = self._repeatable and not self.needed
        late = self.norm is not None and self.norm.late
        self.direct = not (kind.scaled or always or options.skip_nonfinite or late)
        with np.errstate(over="ignore"):  # overflow gives infinity, which is no bound
            self.set_number("clip_value", options.clip_value)
        if options.ema_decay is not None:
            self.set_number("ema_comp", options.ema_comp(0))

    def _norms(self, context: StepContext, kind: StepKind) -> tuple[GradNorm, GradNorm | None]:
        """The norm of the gradients of an update, and that of the gradients of one micro-batch."""
        options, gradients = context.options, context.gradients
        measured = measured_as(context.arrays, context.formats, gradients.rows)
        norm = partial(
            GradNorm,
            *measured,
            options.team,
            partition=context.partition,
            shards=context.shards,
            rows=gradients.rows,
        )
        transforms = kind.sources.transforms
        first = norm(options=tuple("origin" if name == TARGET else name for name in transforms))
        if not context.accumulator:
            return first, first
        sums = ("grad_sum", "grad_power") if kind.scaled == FAR else ("grad_sum",)
        return norm(options=sums), first if options.skip_nonfinite else None

    def follow(self, part: Any) -> None:
        """Pass the addresses of gradients to a further part as well."""
        self._parts.append(part)

    def place(self, addresses: Sequence[int], active: Sequence[bool]) -> None:
        """Set the addresses of the gradients; None where there is no gradient."""
        for part in self._parts:
            part.place(addresses, active)

    def prepare(
        self,
        arrays: Sequence[Any],
        grad_scale: Any,
        found_inf: Any,
        step: int,
        grad_norm: float | None = None,
    ) -> tuple[float | None, Verdict]:
        """Prepare an update: compute the norm, if needed, and decide whether to update.

        Args:
            arrays: the gradients.
            grad_scale: the factor of the loss, or None.
            found_inf: True if they are known not to be finite.
            step: the step count after this update.
            grad_norm: the norm before division by the scale; None to compute it if needed.

        Raises:
            TypeError, ValueError: for an invalid scale or flag.
        """
        grad_scale = backend_of(grad_scale).to_host(grad_scale)
        unscale, power = unscale_of(grad_scale, self._dtypes)
        skip = found_inf is not False and flag_of(backend_of(found_inf).to_host(found_inf))
        accumulator, norm = self._accumulator, None
        last = not accumulator or accumulator.last
        if not skip:
            norm = self._measured(unscale, power, last, grad_norm)
            if self._options.skip_nonfinite:
                known = grad_norm is not None
                whole = unscale * power
                finite = self._all_finite
                skip = not (math.isfinite(norm) if known else finite(norm, arrays, whole, last))
        if skip:
            if self._options.zero_grads:
                given = [as_array(array) for array in arrays if array is not None]
                commit([write(array, 0) for array in given])
            return norm, "skip"
        if accumulator and not last:
            accumulator.add(unscale, power)
            return None, "wait"
        self.set_number("unscale", unscale)
        self.set_step(step)
        self.repeats = self._repeatable
        return norm, "update"

    def again(self, step: int) -> tuple[float | None, Verdict]:
        """As `prepare`, for a step without scale after another such step, whose numbers the kernels
        have. The verdict is "wait" if the norm is not finite and `prepare` has to be called."""
        gradient_norm = self.norm
        if gradient_norm is None:
            norm = None
        else:
            gradient_norm.run()
            norm = gradient_norm.norm(1.0, wait=self._options.skip_nonfinite)
            if self._options.skip_nonfinite and not math.isfinite(norm):
                return norm, "wait"
        if self._asks:
            self.set_step(step)
        return norm, "update"

    def set_step(self, step: int) -> None:
        """Set the numbers of options that depend on the step count."""
        if self.noise:
            self.noise.advance(step)
        for launch, name in self._started:
            launch.set_number(name, -0.0)
        if self._options.ema_warmup:
            self.set_number("ema_comp", self._options.ema_comp(step))

    def _measured(
        self, unscale: float, power: float, last: bool, grad_norm: float | None = None
    ) -> Any:
        """The norm of all gradients, if it is needed; also sets their factor in the kernels."""
        gradient_norm, scale, whole = self.norm if last else self._finite, unscale, unscale * power
        if self._accumulator and last:
            scale = whole = 1 / self._options.accumulate_steps
            if gradient_norm:
                gradient_norm.set_number("unscale", unscale)
                gradient_norm.set_number("grad_power", power)
        if gradient_norm and grad_norm is not None:
            gradient_norm.known = grad_norm
        self.measure(gradient_norm, scale, whole, last)
        self.set_number("grad_power", power)
        return (
            gradient_norm.norm(whole, wait=self._options.skip_nonfinite) if gradient_norm else None
        )

    def measure(
        self, gradient_norm: GradNorm | None, scale: float, whole: float, last: bool = True
    ) -> None:
        """Compute a norm, and set the factor of the gradients in the kernels.

        Args:
            gradient_norm: computes the norm.
            scale: the factor.
            whole: the factor times the power of two by which gradients are multiplied before.
            last: True for the last micro-batch.
        """
        if gradient_norm and self.clip and last:
            self.clip.set_scale(scale, whole)
        else:
            self.set_number("grad_scale", scale)
        if gradient_norm:
            gradient_norm.run()

    def _all_finite(self, norm: Any, arrays: Sequence[Any], unscale: float, last: bool) -> bool:
        """True if all gradients are finite: if their norm is, or else by a check of the elements of
        float64 gradients, whose squares may overflow."""
        if math.isfinite(norm):
            return True
        gradient_norm = self.norm if last else self._finite
        assert gradient_norm
        numbers = np.flatnonzero(~np.isfinite(np.asarray(gradient_norm.squares))).tolist()
        if self._partition:
            pieces = enumerate(self._partition.pieces)
            numbers = [place for place, piece in pieces if piece.number in numbers]
        finite = self._finite_at(numbers, arrays, unscale, last)
        return self._others.all_true(finite) if self._others else finite

    def _finite_at(
        self, numbers: Sequence[int], arrays: Sequence[Any], unscale: float, last: bool
    ) -> bool:
        """True if the gradients of these numbers are finite, which only float64 ones can be."""
        accumulator = self._accumulator
        for number in numbers:
            grad = np.asarray(as_reals(as_array(arrays[number])))
            if accumulator and last:
                with np.errstate(over="ignore", invalid="ignore"):
                    grad = np.asarray(accumulator.sums[number]) + grad * unscale
            if grad.dtype != np.float64 or not np.isfinite(grad).all():
                return False
        return True

    def set_number(self, option: str, number: Any) -> None:
        """Set the number of an option, in the launches whose kernels have it."""
        for launch in self._launches:
            if option in launch.numbers:
                launch.set_number(option, number)

    def _clipping(self, context: StepContext) -> ClipFactor:
        """The computation of clip factors."""
        assert self.norm
        alone = [each.clip_norm_per == "tensor" for each in context.own_options]
        pieces = self._partition.pieces if self._partition else []
        numbers = [piece.number for piece in pieces] or range(len(alone))
        clip = ClipFactor(self.norm, self._options, self._dtypes, alone, numbers)
        formats = context.formats
        for launch in self._launches:
            launch.place("grad_scale", clip.places[formats[launch.members[0]].compute])
        return clip


def measured_as(
    params: Sequence[Any], formats: Sequence[Formats], rows: Sequence[Any]
) -> tuple[list[Any], list[Formats]]:
    """Parameters and formats for the norm: a row-sparse gradient is one number, its own norm."""
    arrays, kinds = list(params), list(formats)
    for number, gradient in enumerate(rows):
        if gradient:
            arrays[number], kinds[number] = gradient.root, Formats.alike("float64")
    return arrays, kinds
