"""Partition of parameters over processes: which pieces are here, and where they belong."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ..kernels.storage.block_sums import Sums

BLOCK = Sums.block  # elements; the blocks of every format divide it


class Piece(NamedTuple):
    """A run of elements of a parameter.

    Attributes:
        number: the number of the parameter.
        start: the first element, a multiple of `BLOCK`.
        stop: the end.
    """

    number: int
    start: int
    stop: int


class Partition(Protocol):
    """The pieces in this process, and the numbers that all processes must agree on.

    An optimizer with a partition has pieces for parameters. Its results are those of an optimizer
    of the whole parameters: blocks of state and of norms begin where those of the whole begin, and
    random rounding follows the parameter and the element.

    Attributes:
        pieces: those of this process, one for each array of the optimizer.
        sizes: the number of elements of each whole parameter.
        group_of: the group of each whole parameter.
        active: whether any parameter has a gradient in this step, be it of another process.
    """

    active: bool

    @property
    def pieces(self) -> Sequence[Piece]: ...

    @property
    def sizes(self) -> Sequence[int]: ...

    @property
    def group_of(self) -> Sequence[int]: ...

    def complete(self, sums: Any) -> None:
        """Fill in the sums of blocks that other processes have computed.

        Args:
            sums: those of all blocks of `BLOCK` elements, one parameter after another; those of
                the pieces of this process are there.
        """

    def complete_rows(self, gradients: Sequence[Any]) -> None:
        """Let the norms of row-sparse gradients be those of the whole parameters.

        Args:
            gradients: for each piece its row-sparse gradient, or None; the norm of the whole one
                becomes that of the first piece, and 0 that of the others.
        """

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes."""


class Shards(Protocol):
    """Parameters of which other processes have other elements, divided by another library.

    An optimizer with shards updates the elements that are here; only its norms are those of the
    whole parameters.
    """

    def add_up(self, own: Any, squares: Any) -> None:
        """Write to `squares` the sum over all processes for each parameter, `own` being that of the
        elements here."""

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes."""
