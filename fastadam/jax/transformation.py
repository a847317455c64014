"""Transformations of gradients in the style of optax, each of one foreign call."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..embedding.arguments import Embedded, embedded
from ..embedding.tracing import Constants, traced
from ..engine.param_groups import initial_state
from ..kernels.formats import TAGS
from ..kernels.stream import Stream
from ..optimizer import Optimizer
from ..rules import Rule
from ..rules.algorithm import Values
from ..validation import check_known
from .handler import handler

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError('JAX is not installed; run: pip install "fastadam[jax]"') from error

_numbers = itertools.count()


class State(NamedTuple):
    """The state of a transformation.

    Attributes:
        count: the number of steps, int32.
        carried: float64 numbers carried from step to step, as their bits in uint32.
        state: for each name of state a tree like the parameters.
    """

    count: Any
    carried: Any
    state: dict[str, Any]


class Transformation(NamedTuple):
    """An optimizer in the style of optax.

    Attributes:
        init: `init(params)` returns the state before the first step.
        update: `update(grads, state, params)` returns `(updates, state)`; `optax.apply_updates`
            adds the updates to the parameters.
        step: `step(grads, state, params)` returns `(params, state)`, without a pass over memory
            for the addition. Inside `jax.jit` with `donate_argnums`, all arrays stay where they
            are.
    """

    init: Callable[[Any], State]
    update: Callable[..., tuple[Any, State]]
    step: Callable[..., tuple[Any, State]]


class _Program:
    """The foreign functions of an optimizer: one for each dtype of parameters."""

    def __init__(self, cls: type[Optimizer], given: Values) -> None:
        self.cls, self.author, self.where = (
            cls,
            cls.without_arrays(),
            f"fastadam.jax: {cls.__name__}",
        )
        check_known(given, cls.defaults, self.where)
        self.schedules = {name: value for name, value in given.items() if callable(value)}
        numbers = {name: value for name, value in given.items() if name not in self.schedules}
        step = embedded(self.where, cls, "float32", hyper=numbers)
        self.values, self.rule = step.values, step.rule
        self.constants: Constants = traced(self.author, self.values)
        self.scheduled = [
            k for k, (name, _) in enumerate(self.constants.numbers) if name in self.schedules
        ]
        if {*self.schedules} - {self.constants.numbers[k][0] for k in self.scheduled}:
            raise TypeError(f"{self.where}: only numbers can be functions of the step")
        self.flat = np.array(self.constants.flat(self.values), np.float64)
        self._names: dict[tuple[str, bool], str] = {}

    def target(self, dtype: str, fresh: bool) -> str:
        """The name under which the foreign function is registered."""
        if (dtype, fresh) not in self._names:
            step = embedded(self.where, self.cls, dtype, hyper=dict(self.values))
            rule, streams = _parts(step, fresh)
            function = handler(rule, streams, self.constants, self.scheduled, fresh)
            name = f"fastadam_{self.rule.name}_{dtype}_{next(_numbers)}"
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function), platform="cpu")
            self._names[dtype, fresh] = name
        return self._names[dtype, fresh]

    def init(self, params: Any) -> State:
        """The state before the first step."""
        start = initial_state(self.author, self.rule, self.values)

        def like(name: str) -> Any:
            return jax.tree.map(
                lambda leaf: jnp.full(leaf.shape, start.get(name, 0.0), _compute(leaf.dtype)),
                params,
            )

        carried = np.array([float(self.cls.carried[name]) for name in self.constants.carried])
        return State(
            jnp.zeros((), jnp.int32),
            jnp.asarray(carried.view(np.uint32)),
            {name: like(name) for name in self.rule.state},
        )

    def call(self, grads: Any, state: State, params: Any, fresh: bool) -> tuple[Any, State]:
        """The parameters, or their updates, and the state after a step."""
        leaves, structure = jax.tree.flatten(params)
        gradients = self._matching("grads", grads, structure, leaves)
        kept = {
            name: self._matching(name, state.state[name], structure, leaves)
            for name in self.rule.state
        }
        dtypes = dict.fromkeys(str(leaf.dtype) for leaf in leaves)
        results, count, carried = list(leaves), state.count, state.carried
        new = {name: list(each) for name, each in kept.items()}
        for dtype in dtypes:
            members = [k for k, leaf in enumerate(leaves) if str(leaf.dtype) == dtype]
            arrays = [[each[k] for k in members] for each in (leaves, gradients, *kept.values())]
            count, carried, *made = self._called(dtype, fresh, state, arrays)
            for row, target in enumerate((results, *new.values())):
                for place, k in enumerate(members):
                    target[k] = made[row * len(members) + place]
        trees = {name: structure.unflatten(each) for name, each in new.items()}
        return structure.unflatten(results), State(count, carried, trees)

    def _called(
        self, dtype: str, fresh: bool, state: State, arrays: Sequence[Sequence[Any]]
    ) -> Sequence[Any]:
        params, grads, *kept = arrays
        if any(grad.dtype != params[0].dtype for grad in grads):
            grads = [grad.astype(params[0].dtype) for grad in grads]
        fixed = [state.count, *([state.carried] if self.constants.carried else [])]
        results = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in fixed]
        aliases = {k: k for k in range(len(fixed))}
        rates = [
            jnp.asarray(schedule(state.count + 1), jnp.float32).reshape(-1)
            for schedule in self.schedules.values()
        ]
        operands = [*fixed, *([jnp.concatenate(rates)] if rates else []), *params, *grads]
        states = [array for each in kept for array in each]
        updated = len(operands) - (1 if fresh else 2) * len(params)  # the first of them
        aliases |= {updated + k: len(results) + k for k in range(len(params))}
        outputs = len(results) + len(params)
        aliases |= {len(operands) + k: outputs + k for k in range(len(states))}
        results += [jax.ShapeDtypeStruct(e.shape, e.dtype) for e in (*params, *states)]
        call = jax.ffi.ffi_call(self.target(dtype, fresh), results, input_output_aliases=aliases)
        made = call(*operands, *states, hyper=self.flat)
        return made if self.constants.carried else [made[0], state.carried, *made[1:]]

    def _matching(self, name: str, tree: Any, structure: Any, leaves: Sequence[Any]) -> list[Any]:
        """The leaves of a tree that is like the parameters.

        Raises:
            TypeError, ValueError: if it is not.
        """
        found: list[Any]
        found, other = jax.tree.flatten(tree)
        if other != structure:
            raise ValueError(f"{self.where}: {name} has the structure {other}, params {structure}")
        for array, leaf in zip(found, leaves, strict=True):
            if array.shape != leaf.shape:
                raise ValueError(
                    f"{self.where}: {name} has an array of shape {array.shape} for a parameter of "
                    f"shape {leaf.shape}"
                )
        return found


def _parts(step: Embedded, fresh: bool) -> tuple[Rule, tuple[Stream, ...]]:
    """The rule and the streams of a kernel; for updates, with gradient and parameter exchanged, so
    that the update takes the place of the gradient."""
    if not fresh:
        return step.staged, step.streams
    inner, (param, grad, *rest) = step.staged, step.streams
    function = inner.snapshot

    def update_of(grad, param, state, h):  # type: ignore[no-untyped-def]
        new, state = function(param, grad, state, h)
        return new - param, state

    update_of.__name__ = inner.name
    exchanged = Rule(update_of, inner.state, inner.hyper, inner.exact)
    return exchanged, (grad._replace(mode="rw"), param._replace(mode="r"), *rest)


def _compute(dtype: Any) -> Any:
    return jnp.float64 if str(dtype) == "float64" else jnp.float32


def _default_platform() -> str | None:
    """The platform of the device that the user has chosen as default."""
    device = jax.config.jax_default_device
    found: str | None = getattr(device, "platform", device)
    return found


def transformation(optimizer: type[Optimizer], **hyper: Any) -> Transformation:
    """An optimizer class as a transformation in the style of optax.

    Args:
        optimizer: the class.
        hyper: its hyperparameters; numbers may be functions of the step, counted from 1, that JAX
            can trace.

    Raises:
        TypeError, ValueError: as the constructor of the class; `update` and `step` raise them for
            trees of different structures, and RuntimeError on another platform than the CPU.
    """
    program = _Program(optimizer, hyper)

    def checked(grads: Any, params: Any) -> None:
        if params is None:
            raise ValueError(f"{program.where}: give params: update(grads, state, params)")
        if jax.default_backend() != "cpu" and _default_platform() != "cpu":
            raise RuntimeError(
                f"{program.where} runs on the CPU; here the default is {jax.default_backend()}: "
                "work inside `with jax.default_device(jax.devices('cpu')[0]):`"
            )
        for leaf in jax.tree.leaves(params):
            if str(leaf.dtype) not in TAGS:
                raise TypeError(
                    f"{program.where}: a parameter has dtype {leaf.dtype}; {', '.join(TAGS)} are "
                    "supported"
                )

    def update(grads: Any, state: State, params: Any = None) -> tuple[Any, State]:
        checked(grads, params)
        return program.call(grads, state, params, fresh=True)

    def step(grads: Any, state: State, params: Any) -> tuple[Any, State]:
        checked(grads, params)
        return program.call(grads, state, params, fresh=False)

    return Transformation(program.init, update, step)
