"""State of a sharded optimizer: saving and loading it as that of the whole parameters."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpoint.contents import (
    Contents,
    Source,
    about_source,
    check_param,
    contents_of,
    state_dict_of,
)
from ..checkpoint.load import loading
from ..checkpoint.write import Progress
from ..engine.options import Options
from ..kernels.commit import Operation, Write, commit, write
from ..optimizer import Optimizer
from ..processes.agreement import Agreement
from ..processes.communicator import Communicator
from .exchange import Exchange
from .files import Own, write_together
from .layout import ShardLayout
from .state_dict import (
    Described,
    accumulated,
    count_apart,
    described_state,
    saved_numbers,
    state_of_pieces,
    whole_state,
)
from .whole import WholeParameters
from .whole_rows import names_of_rows

LOCAL = ("zero_grads", "accumulate_steps")  # options of gradients, which are whole here
Window = tuple[int, list[Any]]  # the number of micro-batches that were added up, and their sums


class SavedState:
    """The checkpoints of a sharded optimizer; every method is collective.

    Args:
        comm: the processes.
        optimizer: that of the pieces in this process.
        layout: how the parameters are divided.
        exchange: what gathers whole arrays.
        whole: the whole parameters, and the sums of their gradients.
        options: those of the sharded optimizer.
    """

    def __init__(
        self,
        comm: Communicator,
        optimizer: Optimizer,
        layout: ShardLayout,
        exchange: Exchange,
        whole: WholeParameters,
        options: Options,
    ) -> None:
        self._comm, self._agreement = comm, Agreement(comm)
        self._optimizer, self._layout, self._exchange = optimizer, layout, exchange
        self._whole, self._options = whole, options

    def state_dict(self) -> dict[str, Any]:
        """The state of the whole parameters."""
        layout, own = self._layout, self._optimizer.state_dict(copy=False)
        of_rank, of_rows = layout.partition.of_rank, self._of_rows
        state = whole_state(self._comm, of_rank, own["state"], layout.divisions, of_rows)
        saved = self._described(own, state)
        if "ema" in own:
            saved["ema"] = dict(enumerate(self._exchange.gathered(self._optimizer.ema).leaves))
        return saved | self._window()

    @property
    def _of_rows(self) -> Collection[str]:
        """The names of the state of which there is a number for each row."""
        return names_of_rows(self._optimizer._engine.groups)

    def _described(self, own: dict[str, Any], state: Any) -> dict[str, Any]:
        """The state_dict of whole parameters with this state, from that of the pieces here."""
        own.pop("step", None)
        groups = self._layout.whole_groups(own)
        return {**own, **count_apart(self._optimizer.steps, state)} | {
            "state": state,
            "param_groups": groups,
        }

    def _window(self) -> dict[str, Any]:
        """The sums of micro-batches, their mean over all processes; nothing without any.

        Raises:
            RuntimeError: in all processes, if a micro-batch was known not to be finite in one.
        """
        if not self._whole.batches:
            return {}
        sums = self._whole.sums
        seen = (total is not None for total in sums)
        *active, found = self._agreement.flags(*seen, self._whole.found)
        if found:
            raise RuntimeError(
                f"one of {self._whole.batches} accumulated micro-batches had found_inf=True, which "
                "a checkpoint does not hold; save after the step that ends them, which is skipped"
            )
        whole = self._exchange.mean_of(sums)
        grads = {n: array for n, array in enumerate(whole) if active[n]}
        return {"accumulated": {"count": self._whole.batches, "grads": grads}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state of the whole parameters into all processes, or into none."""
        with self._agreement.together():
            operations, window = self._loading(state_dict, write)
        with np.errstate(all="ignore"):  # overflow becomes infinite
            commit([*operations, *self._whole.restored(*window)])

    def _loading(
        self, state_dict: Mapping[str, Any], write: Write
    ) -> tuple[list[Operation], Window]:
        """The operations that load a state of the whole parameters, and its sums."""
        layout, engine = self._layout, self._optimizer._engine
        names, scalars = layout.parameters.names, {"step", *self._optimizer.carried}
        own = state_of_pieces(
            state_dict,
            layout.groups,
            layout.pieces,
            layout.divisions,
            names,
            scalars,
            self._of_rows,
        )
        steps = self._options.accumulate_steps
        window = accumulated(state_dict, layout.groups, layout.parameters.arrays, steps)
        engine.refresh()
        return loading(engine, own, write), window

    def write(self, path: str, about: dict[str, Any], progress: Progress | None) -> None:
        """Write the part of this process to one file."""
        layout, optimizer = self._layout, self._optimizer
        with self._agreement.together() as settings:
            optimizer._engine.refresh()
            own = optimizer.state_dict(copy=False)
            settings |= {
                "path": path,
                "extra": about.get("extra"),
                "the number of steps": optimizer.steps,
                "the number of micro-batches": self._whole.batches,
            }
        state = described_state(
            self._comm, layout.pieces, own["state"], layout.divisions, self._of_rows
        )
        saved = self._described(own, state)
        if "ema" in own:
            dtype = optimizer.ema.buffer.dtype
            saved["ema"] = {n: Described(dtype, shape) for n, shape in enumerate(layout.shapes)}
        contents = self.contents(saved | self._window(), about)
        parts = Own(layout.pieces, layout.parameters.arrays, own)
        write_together(self._comm, path, contents, parts, progress)

    def contents(self, saved: Mapping[str, Any], about: Mapping[str, Any]) -> Contents:
        """The contents of a file with a state of the whole parameters."""
        optimizer, arrays = self._optimizer, self._layout.parameters.arrays
        local = {name: getattr(self._options, name) for name in LOCAL}
        options = replace(optimizer._engine.options, **local)
        about = {"optimizer": type(optimizer).__name__, **about, "options": vars(options)}
        return contents_of(saved, arrays, {*optimizer.carried}, about)

    def restore(self, source: Source) -> None:
        """Load the contents of a checkpoint into all processes, or into none."""
        params = self._layout.parameters
        with self._agreement.together() as settings:
            try:
                saved, state_dict = state_dict_of(source.contents)
                operations, window = self._loading(state_dict, source.write)
                order = saved_numbers(state_dict, self._layout.groups)
                for array, number, name in zip(params.arrays, order, params.names, strict=True):
                    check_param(array, saved[number], name)
            except (TypeError, ValueError) as error:
                raise about_source(error, source.label) from None
            pairs = zip(params.arrays, order, strict=True)
            writes = [source.write(array, saved[number]) for array, number in pairs]
            source.verify()
            settings["the checksum of source"] = source.checksum
        with self._agreement.together(), np.errstate(all="ignore"):
            commit([*writes, *operations, *self._whole.restored(*window)])
