"""The sums of rules: passes over memory before the pass of the update."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..kernels.cpu.threads import Limit
from ..kernels.factory import Kernel, kernel
from ..kernels.formats import FLOAT, Formats, floats
from ..kernels.rule_streams import streams_of_terms
from ..kernels.stream import Stream
from ..kernels.transforms import SUM, staged_terms
from ..memory.checks import address
from ..rules import ROW, SIZE, Rule
from .backend import HOST, backend_of
from .columns import alike
from .convert import identity
from .directions import Directions, directions_for
from .grad_norm import Folds, blocks_of, places_of
from .launch import Launch
from .partition import Partition
from .tensor_groups import TensorGroups, by_number, by_sum, by_tensor, in_cache


def first_kernel(rule: Rule, formats: Formats, options: tuple[str, ...], like: Any) -> Kernel:
    """The kernel of the first part of a rule, which adds terms block by block, or writes the
    entries of a matrix, and changes nothing else; for arrays where `like` lies.

    Raises:
        TypeError: for a rule that cannot be compiled.
    """
    terms, target = staged_terms(rule, options), backend_of(like).target
    return kernel(terms, streams_of_terms(rule, options, formats), target)


class RuleSums:
    """The sums that the launches of a step read.

    Args:
        updates: the launches.
        params: all parameters.
        formats: how each of them is kept.
        options: those of the kernels.
        threads: how many threads may be used.
        partition: whose pieces `params` are, if they are.

    Attributes:
        launches: those over parameters, which take the constants of the updates.
        sequence: these and all that follow, in order.
        groups: for updates whose sums are computed group by group, as part of the commitment of
            a step, these groups.
    """

    def __init__(
        self,
        updates: Sequence[Launch],
        params: Sequence[Any],
        formats: Sequence[Formats],
        options: tuple[str, ...] = (),
        threads: Limit = None,
        partition: Partition | None = None,
    ) -> None:
        kinds = alike((update.rule.sums, update.rule.over) for update in updates)
        self._scopes = [
            _Scope([updates[k] for k in places], params, formats, options, partition)
            for (names, over), places in kinds.items()
            if names and over != ROW
        ]
        self.launches = [launch for scope in self._scopes for launch in scope.launches]
        self.sequence = [launch for scope in self._scopes for launch in scope.sequence]
        self._runs = [(scope, scope.runs(threads, partition)) for scope in self._scopes]
        self.groups = {
            update: group for scope in self._scopes for update, group in scope.groups.items()
        }

    def __bool__(self) -> bool:
        return bool(self._scopes)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels that are launched."""
        return [launch.kernel for launch in dict.fromkeys([*self.sequence, *self.launches])]

    def with_terms(self, update: Launch) -> list[Launch]:
        """A launch, and the one that adds the terms of its sums, if it has any."""
        found = [each for scope in self._scopes for each in scope.reading(update)]
        return [update, *found]

    def totals(self) -> dict[str, float]:
        """The sums over all parameters, as they were computed last; a GPU is waited for."""
        return {
            name: float(total)
            for scope in self._scopes
            if scope.whole
            for name, total in zip(scope.names, np.asarray(scope.totals), strict=True)
        }

    def clear(self) -> None:
        """Set the sums to zero, since other parameters than before may have a gradient."""
        for scope in self._scopes:
            scope.sums.fill(0)

    def run(self) -> None:
        """Compute the sums, from gradients, parameters and state as they are, but for those that
        are part of the commitment of a step."""
        for scope, runs in self._runs:
            if not any(group.used for group in scope.groups.values()):
                for run in runs:
                    run()


class _Scope:
    """The sums of launches that have them in common.

    Attributes:
        names: of the sums.
        whole: True if they are over all parameters.
        totals: for each sum that of each parameter, or the one over all.
        sums: those of all blocks; for each sum those of one parameter after another.
        terms: for each update the launch that adds its terms.
        directions: for each update in groups its two parts, if one is a direction.
        sequence: all launches, in order.
        groups: for each update its groups of tensors, if there are any.
    """

    def __init__(
        self,
        updates: Sequence[Launch],
        params: Sequence[Any],
        formats: Sequence[Formats],
        options: tuple[str, ...],
        partition: Partition | None,
    ) -> None:
        self.names, over = updates[0].rule.sums, updates[0].rule.over
        sizes = [*partition.sizes] if partition else [param.size for param in params]
        places = [piece.number for piece in partition.pieces] if partition else range(len(params))
        counts, several = blocks_of(sizes), len(self.names)
        for update in updates:
            if update.rule.factors:  # sums of rows, in place of those of blocks
                for i, length in zip(update.members, update.lengths, strict=True):
                    counts[i] = max(1, sizes[i] // length)
        self._count, self._conversions = sum(counts), list[Launch]()
        self.sums = backend_of(params[0]).zeros(several * self._count, "float64")
        firsts = places_of(counts, partition) * self.sums.itemsize
        self.terms = {
            update: self._launch(
                update, params, formats[update.members[0]].of_any_row, options, firsts
            )
            for update in updates
        }
        folds = [Folds(self.sums, counts * several)]
        self.whole = whole = over == "all"
        if whole:
            folds.append(Folds(folds[0].sums, [len(sizes)] * several))
        totals, self._kept = folds[-1].sums, list[Any](folds)  # launches know addresses only
        self.totals = totals
        dtypes = alike(formats[update.members[0]].compute for update in updates)
        numbers = {dtype: self._converted(totals, dtype) for dtype in dtypes}

        def place_results(update: Launch) -> None:
            found = numbers[formats[update.members[0]].compute]
            for k, name in enumerate(self.names):
                first = k if whole else k * len(sizes)
                of_param = [first if whole else first + place for place in places]
                step = found.itemsize
                update.place(SUM + name, [address(found) + step * each for each in of_param])
            if SUM + SIZE in update.numbers:
                update.set_number(SUM + SIZE, [sizes[places[i]] for i in update.members])

        for update in updates:
            place_results(update)
        self._folds = [launch for each in folds for launch in each.launches] + self._conversions
        self.sequence = [*self.terms.values(), *self._folds]
        self.groups, self.directions = dict[Launch, TensorGroups](), dict[Launch, Directions]()
        if not whole and partition is None and backend_of(params[0]) is HOST:
            for update in updates if self._several else ():
                kept = formats[update.members[0]].of_any_row
                found = directions_for(update, params, kept, options) if in_cache(update) else None
                if found:
                    self.directions[update] = found
                    self._place_terms(found.first, firsts)
                    place_results(found.finish)
            self._group(folds[0].launches, dict(zip(dtypes, self._conversions, strict=True)))

    @property
    def launches(self) -> list[Launch]:
        """The launches over parameters besides the updates."""
        return [each for update in self.terms for each in self.reading(update)]

    def reading(self, update: Launch) -> list[Launch]:
        """Those of them that are parts of an update."""
        found = self.directions.get(update)
        more = [found.first, found.finish] if found else []
        return [self.terms[update], *more] if update in self.terms else []

    def _launch(
        self,
        update: Launch,
        params: Sequence[Any],
        formats: Formats,
        options: tuple[str, ...],
        firsts: Any,
    ) -> Launch:
        """The launch that adds the terms of an update; `firsts` is where, in bytes, the sums of
        each parameter begin."""
        made = first_kernel(update.rule, formats, options, params[0])
        launch = Launch(
            update.rule,
            made,
            params,
            update.members,
            update.kept,
            update.lengths if update.rule.factors else 1,
            update.spans,
        )
        self._place_terms(launch, firsts)
        return launch

    def _place_terms(self, launch: Launch, firsts: Any) -> None:
        for k, name in enumerate(self.names):
            first = address(self.sums) + k * self._count * self.sums.itemsize
            launch.place(SUM + name, (first + firsts).tolist())

    @property
    def _several(self) -> bool:
        """True if an update has several tensors that are not small together."""
        return any(len(each.members) > 1 and not each.table.small for each in self.terms)

    def _group(self, folds: Sequence[Launch], conversions: Mapping[str, Launch]) -> None:
        """Make the groups of tensors, if an update has several that are not small."""
        if not self._several:
            return
        params = self.totals.size // len(self.names)
        for update, terms in self.terms.items():
            found = conversions[update.kernel.streams[0].storage.compute]
            places = np.asarray(update.members), len(self.names), params
            folded = [by_sum(fold, *places) for fold in folds] + [by_number(found, *places)]
            stages = [by_tensor(terms), *folded, by_tensor(update)]
            self.groups[update] = TensorGroups(update, stages, self.directions.get(update), folded)

    def _converted(self, totals: Any, dtype: str) -> Any:
        """An array that will have the totals in the dtype of an arithmetic."""
        numbers = backend_of(totals).zeros(totals.size, dtype)
        inputs = (
            Stream("param", floats(dtype, "float64"), "w"),
            Stream("grad", FLOAT["float64"], "r"),
        )
        made = kernel(identity, inputs, backend_of(totals).target)
        launch = Launch(identity, made, [numbers], [0])
        launch.place("grad", [address(totals)])
        self._conversions.append(launch)
        self._kept.append(numbers)
        return numbers

    def runs(self, threads: Limit, partition: Partition | None) -> list[Callable[[], Any]]:
        """The functions that compute the sums, in order."""
        terms = [launch.table.runner(threads) for launch in self.terms.values()]
        folds, _ = backend_of(self.sums).chained(self._folds, threads)
        if partition is None:
            return terms + folds
        cuts = range(0, self.sums.size, self._count)
        parts = [self.sums[cut : cut + self._count] for cut in cuts]
        return [*terms, *(partial(partition.complete, part) for part in parts), *folds]
