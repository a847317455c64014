"""Partition of parameters over processes: the pieces in this process, and their places."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ..kernels.storage.block_sums import Sums

BLOCK = Sums.block  # elements; the blocks of every format divide it


class Piece(NamedTuple):
    """A run of elements of a parameter.

    Attributes:
        number: the number of the parameter.
        start: the first element, a multiple of `BLOCK`.
        stop: the element after the last.
    """

    number: int
    start: int
    stop: int


class Partition(Protocol):
    """The pieces in this process, and the sums and decisions of all processes together.

    The parameters of an optimizer with a partition are pieces. Its results are those of an
    optimizer of the whole parameters: blocks of state and of norms begin at the same elements, and
    random rounding depends on the parameter and the element.

    Attributes:
        pieces: the pieces in this process, one for each array of the optimizer.
        sizes: the number of elements of each whole parameter.
        group_of: the group of each whole parameter.
        active: True if a parameter has a gradient in this step, in any process.
    """

    active: bool

    @property
    def pieces(self) -> Sequence[Piece]: ...

    @property
    def sizes(self) -> Sequence[int]: ...

    @property
    def group_of(self) -> Sequence[int]: ...

    def complete(self, sums: Any) -> None:
        """Fill in the sums of the blocks of other processes.

        Args:
            sums: the sums of all blocks of `BLOCK` elements, one parameter after another; those of
                the pieces of this process have been computed.
        """

    def complete_rows(self, gradients: Sequence[Any]) -> None:
        """Replace the norms of row-sparse gradients by those for the whole parameters.

        Args:
            gradients: the row-sparse gradient of each piece, or None. The norm for the whole
                parameter is written to that of its first piece, 0 to the others.
        """

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes."""


class Shards(Protocol):
    """Sums over parameters that another library has sharded over processes.

    An optimizer with shards updates the elements of this process; its norms are those of the whole
    parameters.
    """

    def add_up(self, own: Any, squares: Any) -> None:
        """Write to `squares` the sum over all processes for each parameter; `own` has the sums over
        the elements of this process."""

    def all_true(self, value: bool) -> bool:
        """True if the value is true in all processes."""
