"""Files of an optimizer: its state file, and the files of its parameters.

Before a step changes anything, the journal of each file records that it is in progress; after it,
once everything is on the disk, the count of steps. Both are part of the commitment of the step.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import ref

from ..kernels.commit import Operation, commit
from ..kernels.formats import compute_of
from ..memory.files.copying import copied
from ..memory.files.journal import IN_PROGRESS, room_for
from ..memory.files.layout import LINE, SECTION, Entry, Layout, placed
from ..memory.files.mapping import FileMapping, mapping_of, opened
from ..memory.files.windows import Residency, Windows
from ..memory.launch_table import Table
from .accumulation import Accumulator, Window
from .columns import columns_for, line_shape
from .options import Options
from .param_groups import Group
from .state import State, start_of

SUMS = "grad_sum"


class Kept(NamedTuple):
    """An array of a state file: its name in `state`, the number of its parameter, its place."""

    name: str
    number: int
    entry: Entry


class OptimizerFiles:
    """The files of an optimizer, and the places of the state arrays in them.

    Args:
        options: the options of the optimizer.
        params: its parameters.
        state: its state, with the step counts; referred to weakly.
        accumulator: its sums of gradients, or None; referred to weakly.

    Attributes:
        residency: limits the memory that the files occupy.
    """

    def __init__(
        self,
        options: Options,
        params: Sequence[Any],
        state: State,
        accumulator: Accumulator | None,
    ) -> None:
        self._path = options.state_file
        self._state = ref(state)
        self._accumulator = ref(accumulator) if accumulator else lambda: None
        self.residency = Residency(options.resident_bytes)
        self._mapping: FileMapping | None = None
        self._entries: dict[tuple[str, int], Entry] = {}
        self._present: dict[str, str] = {}
        self._steps_accumulated = options.accumulate_steps
        self.follow(params)

    def follow(self, params: Sequence[Any]) -> None:
        """Register parameters in files."""
        found = dict.fromkeys(map(mapping_of, params))
        self._weights = [mapping for mapping in found if mapping is not None]
        own = [self._mapping] if self._mapping is not None else []
        self._all = [*self._weights, *own]
        self.residency.keep(self._all)

    def __bool__(self) -> bool:
        return bool(self._all)

    def stream(self, tables: Iterable[Table]) -> None:
        """Make the launches of these tables stream."""
        for table in tables:
            if type(table) is not Table:  # tables of rows, which touch few pages
                continue
            table.windows = Windows(table, self.residency)

    # The state file

    @property
    def keeps_state(self) -> bool:
        """True if there is a state file."""
        return self._path is not None

    def open(self, layout: Layout, kept: Sequence[Kept], size: int) -> None:
        """Open the state file, or create it.

        Args:
            layout: the layout of the file.
            kept: the arrays in it.
            size: the number of numbers in a record of its journal.

        Raises:
            ValueError: if its layout differs, or it belongs to other parameters.
            OSError: if it cannot be opened or created.
        """
        assert self._path is not None
        mapping = opened(self._path, layout, room_for(size))
        self._entries = {(name, number): entry for name, number, entry in kept}
        if not mapping.created:
            self._check_weights(mapping)
        self._mapping = mapping
        self._all.append(mapping)
        self.residency.keep(self._all)
        if mapping.created:
            for entry in layout.entries:
                if entry.start:
                    copied(mapping.array(entry), entry.start)

    def _check_weights(self, mapping: FileMapping) -> None:
        """Refuse state whose step count differs from that of the parameters' file."""
        count = mapping.journal.read()["count"]
        for weights in self._weights if count else ():
            record = weights.journal.read()
            if record != {"owner": mapping.identity, "count": count}:
                there = f"after step {record['count']} of " if record.get("count") else "not by "
                other = "it" if record.get("owner") == mapping.identity else "another optimizer"
                last = f"{there}{other}" if record.get("count") else "never by a step"
                raise ValueError(
                    f"{mapping.path} is the state after step {count}, but {weights.path} was last "
                    f"written {last}; restore both files of the same step, or remove "
                    f"{mapping.path} to begin with new state"
                )

    def array(self, name: str, number: int) -> Any:
        """An array of the state of a parameter, with saved or with initial values.

        Raises:
            ValueError: if the file has no place for it.
        """
        if (entry := self._entries.get((name, number))) is None:
            raise ValueError(
                f"{self._path} has no room for {name!r}, which was not needed when it was made; "
                "give an optimizer with these hyperparameters a new state_file, and load the "
                "state_dict of this one"
            )
        assert self._mapping is not None
        return self._mapping.array(entry)

    def check_start(self, name: str, number: int, start: float) -> None:
        """Refuse another initial value of state than that of the file.

        Raises:
            ValueError: naming both.
        """
        if (there := self._entries[name, number].start) != start:
            raise ValueError(
                f"{self._path} was made for {name!r} that starts at {there}, not at {start}; put "
                "the hyperparameter back, or make a new optimizer and state_file"
            )

    def start(self, leaves: Sequence[Any], values: Sequence[Any]) -> None:
        """Write the initial values of copies of the parameters, unless the file has values."""
        assert self._mapping is not None
        if self._mapping.created:
            for leaf, array in zip(leaves, values, strict=True):
                copied(leaf, array)

    def resume(self, state: State, accumulator: Accumulator | None) -> None:
        """Resume from the state file; in a new one, record that nothing is in progress.

        Raises:
            ValueError: for more micro-batches than an update takes now.
        """
        mapping = self._mapping
        if mapping is None:
            return
        if mapping.created:
            self.note_done()
            return
        record = mapping.journal.read()
        self._present = record["present"]
        state.count = record["count"]
        for name, there in self._present.items():
            state.arrays[name] = [
                self.array(name, number) if mark == "1" else None
                for number, mark in enumerate(there)
            ]
        carried = [tuple(numbers) for numbers in record["carried"]]
        active = [True] * len(carried)
        state.regroup(record["steps"], carried, active, record["since"])
        batches, seen = record["window"]
        if batches >= self._steps_accumulated > 1 or (batches and not accumulator):
            raise ValueError(
                f"{self._path} has the gradients of {batches} micro-batches, but the optimizer has "
                f"accumulate_steps={self._steps_accumulated}; give it a larger one"
            )
        if accumulator:
            accumulator.window = Window(batches, [mark == "1" for mark in seen])

    # The journal, before and after every operation that writes

    def begun(self, doing: str) -> list[Operation]:
        """The operations that record in all files that an operation is in progress.

        Raises:
            ValueError: if a file was closed.
        """
        operations, state = list[Operation](), self._state()
        assert state is not None
        self._present = _presence(state.arrays)
        for mapping in self._all:
            mapping.check_open()
            operations += [*mapping.journal.written({IN_PROGRESS: doing}), *mapping.synced()]
        return operations

    def surrounded(
        self, operations: Sequence[Operation], doing: str, **changes: Any
    ) -> list[Operation]:
        """Operations between those that record them as in progress and as done.

        Args:
            operations: the operations that write.
            doing: their description, for messages after an interruption.
            changes: the new values of attributes of the state, and of the `window` of the
                accumulator.
        """
        return [*self.begun(doing), *operations, *self._done(2, **changes)]

    def _done(self, later: int, **changes: Any) -> list[Operation]:
        """The operations that wait for the disk, and record that no operation is in progress."""
        own, record = self._mapping, self._record(**changes)
        weights = {"owner": own.identity if own is not None else None, "count": record["count"]}
        ordered = [*([own] if own is not None else []), *self._weights]  # state first
        operations = [operation for mapping in ordered for operation in mapping.synced()]
        for mapping in ordered:
            content = record if mapping is own else weights
            operations += [*mapping.journal.written(content, later), *mapping.synced()]
        return operations

    def note_done(self) -> None:
        """Wait for the disk, and record in all files what they contain."""
        state = self._state()
        assert state is not None
        for (name, number), entry in self._entries.items():
            before = self._present.get(name, "")[number : number + 1] == "1"
            if before and state.arrays[name][number] is None:  # loading took it away
                copied(self.array(name, number), entry.start)
        commit(self._done(1))

    def _record(self, **changes: Any) -> dict[str, Any]:
        """The record of the journal that describes the state."""
        state, accumulator = self._state(), self._accumulator()
        assert state is not None
        count = changes.get("count", state.count)
        grouping = changes.get("grouping", state.grouping)
        arrays = changes.get("arrays") or state.arrays
        window = changes.get("window", accumulator.window if accumulator else Window(0, []))
        cohorts = [grouping.cohorts[number] for number in grouping.cohort_of]
        return {
            "count": count,
            "steps": [cohort.steps(count) for cohort in cohorts],
            "since": [cohort.since for cohort in cohorts],
            "carried": [list(grouping.carried[number]) for number in grouping.cohort_of],
            "present": _presence(arrays),
            "window": [window.batches, _marks(window.seen)],
        }

    def close(self) -> None:
        """Write everything to the disk, and release the state file."""
        if self._mapping is not None:
            self._mapping.release()

    def flush(self) -> None:
        """Wait until everything written to the arrays is on the disk."""
        for mapping in self._all:
            commit(mapping.synced())


def _presence(arrays: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """The parameters that have state of each name, as strings of zeros and ones."""
    return {name: _marks(each is not None for each in column) for name, column in arrays.items()}


def _marks(flags: Iterable[bool]) -> str:
    return "".join("1" if each else "0" for each in flags)


def state_layout(
    owner: str,
    groups: Sequence[Group],
    initial: Sequence[Mapping[str, float]],
    names: Sequence[str],
    options: Options,
) -> tuple[Layout, list[Kept]]:
    """The layout of a state file, and the arrays in it.

    Args:
        owner: the name of the optimizer.
        groups: its groups.
        initial: the initial values of state, for each group.
        names: the names of the parameters.
        options: the options of the optimizer.
    """
    found: dict[str, list[tuple[int, str, tuple[int, ...], float]]] = {}
    params = [
        (group, start, p)
        for group, start in zip(groups, initial, strict=True)
        for p in group.params
    ]
    for number, (group, start, param) in enumerate(params):
        for kept in columns_for(group.rule.of(param.shape).state, group.formats(param)).values():
            column = kept.column
            whole = column.per == 1 and not kept.of_rows
            shape = param.shape if whole else (-(-param.size // column.per),)
            if kept.line:
                shape = line_shape(param.shape, kept.line)
            number_at = start_of(kept, start)
            found.setdefault(kept.name, []).append((number, column.outside, shape, number_at))
        if options.accumulates:
            summed = number, compute_of(param.dtype.name), param.shape, 0.0
            found.setdefault(SUMS, []).append(summed)
    copies = {"ema": compute_of(params[0][2].dtype.name) if options.ema_decay is not None else None}
    copies["shadow"] = options.shadow_dtype
    total = sum(param.size for _, _, param in params)
    for name, dtype in copies.items():
        if dtype:
            found[name] = [(0, dtype, (total,), 0.0)]
    all_kept, end = list[Kept](), 0
    for name, members in found.items():
        labels = [name if name in copies else f"{name}/{names[m[0]]}" for m in members]
        arrays = [(label, m[1], m[2]) for label, m in zip(labels, members, strict=True)]
        entries = placed(arrays, -(-end // SECTION) * SECTION, LINE)
        end = entries[-1].offset + entries[-1].nbytes
        for member, entry in zip(members, entries, strict=True):
            all_kept.append(Kept(name, member[0], entry._replace(start=member[3])))
    return Layout("state", owner, [kept.entry for kept in all_kept]), all_kept
