"""The matrices of rules: a pass that computes their entries, and the transformation of each."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..kernels.factory import Kernel
from ..kernels.transforms import SUM
from ..memory.checks import address
from ..memory.complex_numbers import Pairs
from ..rules import MATRIX, Rule
from ..rules.algorithm import Algorithm, Values
from .backend import backend_of
from .launch import Launch
from .rule_sums import first_kernel
from .step_context import StepContext
from .workspace import HostWorkspace, Workspace


class RuleMatrices:
    """The matrices that the launches of a step read, such as the orthogonalized ones of Muon.

    Only the matrices are written before the step is committed.

    Args:
        updates: the launches of the update.
        context: the arrays and settings of the steps.
        options: the options of the kernels.

    Attributes:
        launches: the launches that compute the entries, with the constants of the updates.
    """

    def __init__(
        self, updates: Sequence[Launch], context: StepContext, options: tuple[str, ...] = ()
    ) -> None:
        self._workspace: Workspace = context.workspace or HostWorkspace(context.arrays)
        self._group_of = [k for k, group in enumerate(context.groups) for _ in group.params]
        self._firsts, self._kept = dict[Launch, Launch](), list[Any]()
        for update in updates:
            if update.rule.matrix:
                self._firsts[update] = self._launch(update, context, options)
        self.launches = [*self._firsts.values()]
        self._members = [number for update in self._firsts for number in update.members]
        self._runs = [launch.table.runner(context.options.team) for launch in self.launches]

    def _launch(self, update: Launch, context: StepContext, options: tuple[str, ...]) -> Launch:
        """The launch that computes the entries of the matrices of an update."""
        params, kept = context.arrays, context.formats[update.members[0]]
        made = first_kernel(update.rule, kept, options, params[0])
        launch = Launch(update.rule, made, params, update.members, update.kept)
        rooms = [self._workspace.room(number, kept.compute) for number in update.members]
        for each in (launch, update):
            each.table.place(SUM + MATRIX, [address(room) for room in rooms])
        self._kept += rooms  # launches have addresses only
        return launch

    def __bool__(self) -> bool:
        return bool(self._firsts)

    @property
    def kernels(self) -> list[Kernel]:
        """The kernels that are launched."""
        return [launch.kernel for launch in self.launches]

    def first_of(self, update: Launch) -> Iterator[Launch]:
        """The launch that computes the entries for an update, if there is one."""
        if update in self._firsts:
            yield self._firsts[update]

    def run(self, author: Algorithm, values: Sequence[Values], active: Sequence[bool]) -> None:
        """Compute and transform the matrices, from the current gradients and state.

        Args:
            author: the optimizer, whose `transform` is called.
            values: the hyperparameters of each group.
            active: for each parameter, True if it has a gradient.
        """
        for run in self._runs:
            run()
        for number in self._members:
            if active[number]:
                self._workspace.transform(author, number, values[self._group_of[number]])


def check_factors(rule: Rule, arrays: Sequence[Any], names: Sequence[str]) -> None:
    """Refuse parameters that are not matrices, for a rule with factors.

    Raises:
        ValueError: naming the first such parameter.
    """
    for array, name in zip(arrays, names, strict=True):
        if rule.of(array.shape).factors and array.ndim < 2:
            raise ValueError(
                f"{name} has shape {array.shape}, but {rule.name} has numbers of rows and columns; "
                "declare it as matrices= of a rule for arrays of fewer than two dimensions"
            )


def check_matrices(
    author: Algorithm, rule: Rule, arrays: Sequence[Any], names: Sequence[str], pieces: bool
) -> None:
    """Refuse parameters that are not whole matrices on the host, for a rule with a matrix.

    Args:
        author: the optimizer.
        rule: the rule.
        arrays: the parameters.
        names: their names in messages.
        pieces: True if they are pieces of longer arrays.

    Raises:
        ValueError: naming the first such parameter.
    """
    if rule.matrix is None:
        return
    owner = type(author).__name__
    for array, name in zip(arrays, names, strict=True):
        if pieces or backend_of(array).name != "cpu":
            where = "cut into pieces for several processes" if pieces else "on a device"
            raise ValueError(
                f"{name} is {where}, but {owner} multiplies whole matrices on the host; use "
                "another optimizer, or fastadam.torch for tensors"
            )
        if array.ndim != 2 or isinstance(array, Pairs):
            shape = array.shape[:-1] if isinstance(array, Pairs) else array.shape
            kind = "complex" if isinstance(array, Pairs) else f"{array.ndim}-dimensional"
            raise ValueError(
                f"{name} has shape {shape} and is {kind}, but {owner} is for matrices of real "
                "numbers; give biases, norms, embeddings and other parameters to an optimizer of "
                "their own, such as fastadam.AdamW"
            )
