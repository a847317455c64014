"""Base class of all optimizers: the public methods, over an engine that holds the arrays."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from .checkpoint.contents import Contents, Source, contents_of_engine, restore
from .checkpoint.load import load
from .checkpoint.pickling import pickled
from .checkpoint.save import dequantize, save
from .engine.assignment import PROPERTIES, check_assigned
from .engine.averages import Exchange
from .engine.binding import bound, bound_inputs, norm_of
from .engine.blending import Blend
from .engine.budget import Budget, budget_of
from .engine.constants import constants_of
from .engine.convert import master
from .engine.edits import ParamGroup
from .engine.engine import Engine
from .engine.exchanging import exchanging
from .engine.flat import Flat
from .engine.group_arguments import SHADOW
from .engine.options import NAMES, Options
from .engine.param_groups import CARRIED
from .engine.partition import Partition
from .engine.state_view import ArraysView, StateView, numbers_of
from .engine.step_info import StepInfo, new_info
from .engine.subset import Subset
from .kernels.factory import Kernel
from .kernels.formats import COMPENSATION
from .memory.complex_numbers import shown
from .memory.tree import Tree, filled
from .rules.algorithm import Algorithm, Values, check_class, signature_of
from .rules.docstrings import SHARED, Composed, completed, entries, errors_of, explained
from .validation import check_known

if TYPE_CHECKING:
    from .typing import Grads, Params, Scheduled


class Optimizer(Algorithm):
    """Base of all optimizers: a rule, the defaults of its hyperparameters, its constants.

    A subclass sets `rule` and `defaults` and defines `hyper`; every key of `defaults` is a keyword
    argument of the constructor. The arrays passed as `params` are updated in place.

    Args:
        params: a tree of arrays (one array, a `fa.Flat`, or dicts, lists and tuples of
            trees), or a list of groups, dicts with a tree `params`, hyperparameters of their own,
            and any of the options `state_dtype`, `min_quantized_size`, `compensation`, `rounding`,
            `clip_norm_per`, `lower` and `upper`, which cannot be changed later. Arrays are
            float32, float64, bfloat16 (of ml_dtypes) or float16, C-contiguous, writable, and share
            no memory; arithmetic is in float64 for float64, in float32 else.
        lr: the learning rate, a number or a function of the step, counted from 1. The other
            hyperparameters are keyword-only and may be functions of the step as well.
        threads: the largest number of threads of a step; default None: that of `fa.set_threads`.
        cores: the numbers of the cores on which these threads run, and no others; see
            `fa.set_threads`; default None: all.
        clip_norm: the largest norm of all gradients together; larger ones are multiplied by
            `clip_norm / (norm + 1e-6)` inside the kernel, as PyTorch's `clip_grad_norm_` does
            (optax: without the 1e-6). The gradient arrays are not changed. Default None: no
            clipping; infinity only measures the norm.
        clip_norm_per: "tensor" clips the gradient of each parameter by its own norm; default
            "global". If groups differ, the gradients of all groups with "global" are clipped by
            their common norm.
        clip_value: the largest absolute value of an element, after `clip_norm`; default None.
        skip_nonfinite: True skips a step, without counting it, if any gradient has a NaN or an
            infinity; default False: they propagate, as in PyTorch.
        ema_decay: keeps an average of the parameters in `ema`, to which each update adds
            `(1 - ema_decay) * (p - ema)`; default None: no average.
        ema_warmup: limits the decay to `(1 + t) / (10 + t)` at update t; default False.
        shadow_dtype: "bfloat16" or "float16" keeps a copy of float32 parameters in `shadow`,
            rounded to nearest even; default None.
        shadow: arrays of bfloat16, float16 or float32, structured as `params`, into which each step
            writes a copy of float32 parameters: your own memory, for example pinned or mapped. None
            in place of an array: no copy of that parameter. With groups, a key of each group.
            Default None.
        zero_grads: True sets gradients to zero after they are used; default False.
        accumulate_steps: the number of calls of `step` whose gradients are added up; the last one
            updates with their mean. Default 1.
        lower, upper: the smallest and the largest value of an element after an update, rounded to
            the dtype of its parameter; default None: no bound. A group may have its own.
        lazy: treatment of rows without a gradient in `fa.Rows`. "torch", the default: they do not
            change, and the constants of a row depend on the step count of the whole array, as in
            PyTorch. "rows": they do not change, and the constants depend on the step count of the
            row (FBGEMM's row-wise bias correction). "exact": a row catches up with missed steps
            when it next has a gradient, where there is a closed form: all of SGD and Adagrad; the
            moments and decoupled decay of Adam, but not the updates by the moments. Both keep
            `row_step` in the state.
        mask_state: True leaves the state of elements unchanged that the mask of a step does not
            mark; default False: the state is updated with the whole gradient.
        state_dtype: "float32", "bfloat16" or "int8", or a dtype of that name: the format of the
            state (int8: codes in blocks of 256, with a scale for each block); default None: the
            dtype of the arithmetic.
        min_quantized_size: parameters of fewer elements keep their state as if `state_dtype` were
            None, not "int8"; default 4096.
        rounding: "stochastic" rounds bfloat16 and float16 parameters up or down at random, so that
            small updates are not lost; default "nearest".
        compensation: keeps the bits that bfloat16 parameters lack, so that small updates are not
            lost: "kahan" in a second bfloat16, "split8" and "split16" in an int8 and an int16 (24
            and 32 bits in all); see `fa.Optimizer.master`; default None.
        seed: seed of all random rounding, including that of int8 state; default 0.
        state_file: a path; keeps the state, with average, shadow and sums of gradients, in this
            memory-mapped file. A new file is created; an existing file, which must have been
            created for the same optimizer, parameters and options, is continued. Default
            None: the state is in memory.
        resident_bytes: the largest amount of memory that a step may use for parameters and state in
            files (of a Flat of `flatten(file=)`, and `state_file`); a step over larger files
            streams. At least 32 MiB; default 1 GiB. It has an effect on Linux only.

    Attributes:
        carried: set by a subclass: initial values of float64 host numbers kept for each parameter.
            `carry` updates them, `hyper` finds them in its group, and `state_dict` saves them.
        uncounted: set by a subclass: True if PyTorch saves no step count for it. Loaded state is
            then taken to be past the first step, and `hyper` counts from the first step whose rule
            has state.
        hyper_depends_on_step_only: set by a subclass: True if `hyper` depends on its group and step
            only, so that its steps can be captured in CUDA graphs; default False.
        rule: the rule in use, callable with plain numbers: `opt.rule(param, grad, state, h)`.

    Raises:
        TypeError: for an object that is not an array, an unknown name, or a value of the wrong
            type.
        ValueError: for arrays that a kernel cannot access, overlapping memory, no arrays, and
            numbers out of range.

    Examples:
        >>> import numpy as np, fastadam as fa
        >>> @fa.rule(hyper=("lr",))
        ... def descent(param, grad, state, h):
        ...     return param - h.lr * grad, state
        >>> class Descent(fa.Optimizer):
        ...     rule = descent
        ...     defaults = {"lr": 0.5}
        ...     def hyper(self, group, step):
        ...         return {"lr": group["lr"]}
        >>> w = np.array([1.0, 2.0])
        >>> Descent(w).step(np.array([1.0, 1.0]))
        StepInfo(step=1, lr=0.5, grad_norm=None, skipped=False, updated=True)
        >>> w
        array([0.5, 1.5])
    """

    _engine: Engine
    _text: ClassVar[str | None]  # the docstring as it was written

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_class(cls)
        if taken := {"params", SHADOW, *NAMES, *CARRIED} & cls.defaults.keys():
            raise ValueError(f"{cls.__name__}.defaults uses {sorted(taken)}; choose other names")
        if "__init__" not in vars(cls):
            placed = cls.defaults.keys() & {"lr"}
            made = signature_of(placed, cls.defaults | vars(Options()) | {SHADOW: None})
            cls.__signature__ = made  # type: ignore[attr-defined]
        if vars(cls).get("__doc__"):
            cls._text = cls.__doc__
            cls.__doc__ = Composed(partial(_explained, cls))  # type: ignore[assignment]

    def __init__(self, params: "Params", *positional: "Scheduled", **keywords: Any) -> None:
        check_class(type(self))
        if len(positional) > 1:
            raise TypeError(
                f"{type(self).__name__}() takes params and lr as positional arguments, not "
                f"{len(positional) - 1} more; give the others by name"
            )
        if positional and "lr" in keywords:
            raise TypeError(f"{type(self).__name__}() got multiple values for lr; give it once")
        keywords |= dict(zip(("lr",), positional, strict=False))
        shadow = keywords.pop(SHADOW, None)
        self._set_up(params, *self._settings(keywords), shadow=shadow)

    @classmethod
    def of_pieces(cls, params: Any, keywords: Values, partition: Partition) -> "Optimizer":
        """An optimizer whose parameters are pieces of longer arrays, for sharded optimizers.

        Args:
            params: groups of pieces, one array for each piece of the partition.
            keywords: as for the constructor.
            partition: where the pieces belong.
        """
        opt = cls.without_arrays()
        if SHADOW in keywords or any(SHADOW in group for group in params):
            raise ValueError(
                "shadow= is for arrays of whole parameters, and this optimizer has pieces of them; "
                "use shadow_dtype="
            )
        opt._set_up(params, *opt._settings(dict(keywords)), partition)
        return opt

    def _settings(self, keywords: Values) -> tuple[Values, Options]:
        """Hyperparameters with their defaults, and options, from keyword arguments."""
        chosen = {name: keywords.pop(name) for name in NAMES if name in keywords}
        check_known(keywords, [*self.defaults, *NAMES, SHADOW], f"{type(self).__name__}()")
        return {**self.defaults, **keywords}, Options(**chosen)

    def _set_up(
        self,
        params: Any,
        defaults: Values,
        options: Options,
        partition: Partition | None = None,
        shadow: Any = None,
    ) -> None:
        self._engine = Engine(self, defaults, options, partition)
        self._engine.begin(params, shadow)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            check_assigned(self, name, self.defaults, PROPERTIES)
        object.__setattr__(self, name, value)

    @classmethod
    def constants(cls, *, step: int, **hyper: Any) -> tuple[float, ...]:
        """The constants of one step, in the order of `rule.hyper`.

        They are what a step of `fastadam.compiled` takes.
        Code compiled by Numba can call this method too, after `fastadam.compiled` of the class;
        flags such as `amsgrad` are literals there, and schedules numbers.

        Args:
            step: the number of the step, counted from 1.
            hyper: hyperparameters; the others have their defaults.

        Raises:
            TypeError, ValueError: as the constructor.

        Examples:
            >>> import fastadam as fa
            >>> dict(zip(fa.Lion.rule.hyper, fa.Lion.constants(step=1, lr=0.5)))["lr"]
            0.5
        """
        return constants_of(cls.without_arrays(), step, hyper)

    @property
    def param_groups(self) -> list[ParamGroup]:
        """A dict per group, as in PyTorch; the next step uses edited values."""
        return self._engine.param_groups

    @property
    def params(self) -> Tree:
        """The arrays, in the structure in which they were passed; a list if there are groups."""
        return self._engine.parameters.public()

    @property
    def grads(self) -> Flat:
        """Gradient arrays of the optimizer: a Flat like the parameters, initially zero.

        `step()` without an argument uses them. `add_param_group` creates new ones.

        Raises:
            TypeError: if the parameters have several dtypes.
        """
        return self._engine.own_grads()

    @property
    def ema(self) -> Flat:
        """The average of the parameters, with `ema_decay`: a Flat like the parameters.

        Initially a copy of them. `add_param_group` creates a new one.

        Raises:
            AttributeError: without `ema_decay`.
        """
        return self._handed_out(self._engine.copies.ema, "ema", "ema_decay=0.999")

    @property
    def shadow(self) -> Any:
        """The copy of the parameters: with `shadow_dtype` a Flat like the parameters, with
        `shadow=` your arrays, structured as `params`.

        Raises:
            AttributeError: without either.
        """
        copies = self._engine.copies
        if copies.copied:
            return filled(self._engine.parameters.structure, copies.given)
        return self._handed_out(self._engine.copies.shadow, "shadow", "shadow_dtype='bfloat16'")

    def _handed_out(self, flat: Flat | None, name: str, option: str) -> Flat:
        there = self._engine.parameters.shown(_there(flat, name, option))
        self._engine.parameters.follow(there.container(f"opt.{name}"))
        return there

    def swap_ema(self) -> AbstractContextManager[None]:
        """Exchange parameters and averages inside a `with` block, for evaluation.

        The shadow is rounded from the averages. Steps, saving and loading are refused inside the
        block.

        Raises:
            AttributeError: without `ema_decay`.
            RuntimeError: inside another such block.
        """

        def exchange() -> Exchange:
            _there(self._engine.copies.ema, "ema", "ema_decay=0.999")
            return self._engine.copies.exchange()

        return exchanging(self._engine, "swap_ema()", exchange)

    def _blended(
        self, name: str, state: str, weight: Callable[[Values], float]
    ) -> AbstractContextManager[None]:
        """A block in which each parameter p is `p + weight(group) * (state - p)`."""

        def blend() -> Exchange:
            engine = self._engine
            weights = [weight(g.at(max(1, engine.state.count))) for g in engine.groups]
            of_each = [w for w, g in zip(weights, engine.groups, strict=True) for _ in g.params]
            known = engine.state.arrays.get(state) or [None] * len(of_each)
            return Blend(engine.copies, known, of_each, name)

        return exchanging(self._engine, name, blend)

    @property
    def state(self) -> StateView:
        """The state by name: an array for each parameter, None before its first gradient.

        `opt.state["exp_avg"][0]` is that of the first parameter. Names work as well: the keys of
        `params` if it is a dict, and the names of checkpoints, such as `"layers.0.weight"`. The
        arrays can be written to, but not replaced.
        """
        engine = self._engine
        if engine.rounds:
            engine.rounds.resolve()
        structure, numbers = engine.parameters.structure, numbers_of(engine.param_groups)
        params, known = engine.parameters.arrays, engine.state.arrays
        unused = {name for group in engine.groups for name in group.unused_state}
        arrays = {
            name: list(map(shown, each, params))
            for name, each in known.items()
            if name not in unused or any(array is not None for array in each)
        }
        return StateView({n: ArraysView(each, structure, numbers) for n, each in arrays.items()})

    @property
    def steps(self) -> int:
        """The number of steps so far; on a GPU, reading it waits for the steps in progress."""
        self._engine.state.resolve()
        return self._engine.state.count

    @property
    def info(self) -> StepInfo | None:
        """The result of the last call of `step`; None before the first, and in a copy."""
        return self._engine.info

    def zero_grad(self) -> None:
        """Set `grads` to zero."""
        if self._engine.grads is not None:
            self._engine.grads.buffer.fill(0)

    def add_param_group(self, param_group: Values) -> None:
        """Add parameters with hyperparameters of their own.

        Afterwards `params`, `grads` and the gradients of a step are one flat list over all groups,
        in order.

        Args:
            param_group: a dict with a tree `params` and any of the hyperparameters.

        Raises:
            TypeError, ValueError: as the constructor, before anything is added.
        """
        with self._engine.lock:
            self._engine.refuse_captured("add_param_group()")
            self._engine.refresh()
            self._engine.add([param_group])

    def step(
        self,
        grads: "Grads | None" = None,
        *,
        lr: Any = None,
        mask: Any = None,
        grad_scale: Any = None,
        found_inf: Any = False,
        stream: Any = None,
        target: Any = None,
        inputs: Any = None,
    ) -> StepInfo:
        """Update every parameter that has a gradient, in place.

        Args:
            grads: the gradients, in the structure of `params`, of the same shapes; those of float64
                are for float64 parameters only. None in place of an array leaves that parameter,
                its state and its step count unchanged. For parameters in a Flat, a Flat or a
                one-dimensional array over all elements is accepted; the optimizer refers to that
                array until the next step. `fa.Rows` in place of an array is a gradient of some
                rows. Default None: `opt.grads`.
            lr: a learning rate for this step only. On a GPU also an array of one number there, for
                which the host does not wait.
            mask: arrays of bool in the structure and the shapes of `params`, or one over all
                elements of a Flat. Only the elements marked True are updated. The state is updated
                with the whole gradient, unless the optimizer has `mask_state=True`.
            grad_scale: the factor of the loss; gradients are divided by it in the kernel, not in
                memory. On a GPU also an array of one number there.
            found_inf: True skips the step: nothing changes, and it is not counted. On a GPU also an
                array of one number there, for which the host does not wait.
            stream: the stream of the step on a GPU: a handle, or a stream of CuPy, Numba or
                PyTorch. Default None: the current stream of the library that owns the parameters.
            target: in place of gradients, a target of the parameters, in the structure of `params`:
                the gradient of an element is `p - target`, computed in the same pass. A list of
                pairs `(weight, tree)` is the weighted sum of these trees.
            inputs: in place of gradients, pairs `(weight, tree)`: the gradient is the sum of
                `weight * tree`, added in this order in the same pass (more than 16 take one pass
                per 16). Trees have the structure of `params`; arrays for the same parameter have
                the same dtype.

        Returns:
            The step count, the learning rate and more; see `fa.StepInfo`.

        Raises:
            TypeError, ValueError: before any element changes; the message names a fix.
        """
        engine = self._engine
        with engine.lock if stream is None else engine.on(stream):
            try:
                if engine.edits.pending:
                    engine.refresh()
                values = engine.steady
                if lr is not None or values is None:
                    values = engine.values(lr)
                arrays: Any
                if target is not None or inputs is not None:
                    plan, arrays = bound_inputs(engine, grads, target, inputs, mask, grad_scale)
                else:
                    if engine.single and type(grads) is np.ndarray:
                        arrays = (grads,)
                    else:
                        arrays = engine.gradients(grads)
                    current, plain = engine.plan, mask is None and grad_scale is None
                    if current is None or not plain or not current.same(arrays):
                        current, arrays = bound(engine, arrays, mask, grad_scale)
                    plan = current
                if plan.direct and found_inf is False:  # as `stepped`, with fewer calls
                    step = engine.state.count + 1
                    plan.write_constants(self, values, step)
                    norm = plan.norm and plan.norm.measured()
                    plan.launch()
                    info = new_info((step, values[0].get("lr"), norm, False, True))
                else:
                    info = engine.stepped(self, plan, arrays, values, lr, grad_scale, found_inf)
                engine.info = info
                return info
            except BaseException:  # an interrupt among them
                engine.invalidate()
                raise

    def subset(self, which: Any) -> Subset:
        """Some parameters of the optimizer, whose steps are planned once.

        A loop that updates the parameters in parts, each as soon as its gradients are computed,
        creates a subset for each part. Hyperparameters, options, state and counts are the
        optimizer's. After `add_param_group`, make subsets anew.

        Args:
            which: names of parameters, keys of `params` or names as in checkpoints
                (`"layers.0.weight"`), or their numbers, counted from 0 over all groups.

        Raises:
            TypeError, ValueError: for what is not a parameter; for `accumulate_steps`, files, and
                arrays on a device.

        Examples:
            >>> import numpy as np, fastadam as fa
            >>> params = {"w": np.ones(2), "b": np.ones(1)}
            >>> opt = fa.SGD(params, lr=0.5)
            >>> bias = opt.subset(["b"])
            >>> bias.step({"b": np.ones(1)}).step
            1
            >>> params
            {'w': array([1., 1.]), 'b': array([0.5])}
        """
        return Subset(self, self._engine, which)

    def grad_norm(self, grads: "Grads | None" = None) -> float:
        """The norm of all gradients together, as `clip_norm` computes it, bit for bit.

        Steps of subsets take it as `grad_norm=`, in order to clip by the norm of all.

        Args:
            grads: as for `step`; gradients of some rows count as dense.

        Raises:
            TypeError, ValueError: as `step`.
        """
        engine = self._engine
        with engine.lock:
            engine.refresh()
            return norm_of(engine, engine.gradients(grads))

    def state_dict(self, *, copy: bool = True) -> dict[str, Any]:
        """The state to resume from, in PyTorch's layout, with NumPy arrays.

        Args:
            copy: False returns views of the live state, to save without doubling memory.

        Returns:
            `{"state": {number: {"step": ..., name: array}}, "param_groups": [...]}`. Only the
            current value of a schedule is saved; parameters in dicts are saved with their names.
        """
        with self._engine.lock:
            self._engine.refresh()
            return save(self._engine, copy)

    def dequantized_state(self) -> dict[str, Any]:
        """A state_dict with all state in the dtype of the arithmetic, to inspect it or to load it
        into PyTorch; it does not include the bits of `compensation`."""
        with self._engine.lock:
            self._engine.refresh()
            return dequantize(self._engine)

    def master(self) -> Tree:
        """The parameters in the dtype of the arithmetic: new arrays, structured as `params`.

        With `compensation` they include the bits that the bfloat16 parameters lack.

        Raises:
            RuntimeError: inside `swap_ema()`.
        """
        with self._engine.lock:
            self._engine.refresh()
            arrays = self._engine.parameters.arrays
            rests = self._engine.state.arrays.get(COMPENSATION) or [None] * len(arrays)
            masters = map(master, arrays, rests, self._engine.formats())
            weights = list(map(shown, masters, arrays))
            return filled(self._engine.parameters.structure, weights)

    def memory(self) -> Budget:
        """Bytes of parameters, gradients, state and options, next to those of plain float32.
        Gradients are assumed to have the dtypes of the last step, before it those of the
        parameters.

        `fa.plan` computes the same for parameters that do not exist yet.
        """
        engine = self._engine
        with engine.lock:
            engine.refresh()
            rules = (group.rule.of(p.shape) for group in engine.groups for p in group.params)
            sizes = (array.size for array in engine.parameters.arrays)
            members = zip(rules, engine.formats(), sizes, strict=True)
            return budget_of(members, engine.options, engine.params_in_files)

    def flush(self) -> None:
        """Wait until everything written to parameters and state is on the disk, if they are in
        files. A step does this itself; call it after writing to the arrays."""
        with self._engine.lock:
            if self._engine.files:
                self._engine.files.flush()

    def close(self) -> None:
        """Release the `state_file`, so that it can be opened again; do nothing without one.

        The state can still be read. Further steps are refused. The file of a Flat is closed by the
        method `close` of the Flat.
        """
        with self._engine.lock:
            if self._engine.files:
                self._engine.files.close()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a saved state of fastadam, or of the PyTorch optimizer of the same name.

        Arrays are copied, and converted to the dtypes of this optimizer, also between codes and
        floats. Parameters are matched by name where both sides have names, otherwise by order.
        Schedules of this optimizer are kept.

        Raises:
            TypeError, ValueError: if groups, names or shapes do not fit; nothing is changed then.
        """
        with self._engine.lock:
            self._engine.refuse_captured("load_state_dict()")
            self._engine.refresh()
            load(self._engine, state_dict)

    @contextmanager
    def _contents(self, about: dict[str, Any]) -> Iterator[Contents]:
        """The contents of a checkpoint, which share memory; no step is taken in the block."""
        with self._engine.lock:
            self._engine.refresh()
            yield contents_of_engine(self._engine, about)

    def _restore(self, source: Source) -> None:
        """Load the contents of a checkpoint, all or nothing."""
        with self._engine.lock:
            self._engine.refuse_captured("load()")
            self._engine.refresh()
            restore(self._engine, source)

    def __repr__(self) -> str:
        options = ", ".join(
            f"{name}={value!r}" for name, value in self._engine.options.chosen.items()
        )
        lines = [*map(repr, self._engine.groups), *([f"options: {options}"] if options else [])]
        return f"{type(self).__name__}(\n" + "".join(f"  {line}\n" for line in lines) + ")"

    def __copy__(self) -> NoReturn:
        raise TypeError(
            f"copy.copy would make a second {type(self).__name__} that updates the same arrays; "
            "take copy.deepcopy(opt), which copies them, or give the same arrays to a new optimizer"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), *pickled(self))

    def _kernels(self) -> list[Kernel]:
        """The kernels that the next step will launch."""
        return self._engine.kernels()


def _restored(
    cls: type[Optimizer],
    settings: tuple[Any, ...],
    raws: Sequence[Values],
    state: dict[str, Any],
    grads: Any,
    own: Values,
) -> Optimizer:
    """The optimizer of which `__reduce__` returned the parts."""
    opt = cls.without_arrays()
    vars(opt).update(own)
    opt._set_up(*settings)
    for raw, kept in zip(opt.param_groups, raws, strict=True):
        raw.update(kept)
    opt.load_state_dict(state)
    opt._engine.grads = grads
    return opt


def _explained(cls: type[Optimizer]) -> str:
    """The docstring of a class with all arguments explained."""
    known = dict(SHARED)
    for each in reversed(cls.__mro__):
        known |= entries(vars(each).get("_text") or vars(each).get("__doc__"))
    known |= {"params": _PARAMS}
    names = {"params": ..., **cls.defaults, **vars(Options()), SHADOW: None}
    return completed(cls._text, explained(names, known), errors_of(Optimizer.__doc__))


_PARAMS = entries(Optimizer.__doc__).get("params", "")


def _there(flat: Flat | None, name: str, option: str) -> Flat:
    if flat is None:
        raise AttributeError(f"there is no {name}; give the optimizer {option}")
    return flat
