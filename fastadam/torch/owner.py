"""The members of an optimizer for PyTorch that the parts of it use."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from ..engine.options import Options
from ..optimizer import Optimizer as CoreOptimizer


class Owner(Protocol):
    """An optimizer for PyTorch, as its tensor steps, averages and checkpoints see it.

    Attributes:
        param_groups: the groups with their hyperparameters.
        state: the state of each parameter.
        ema: the averages of the parameters.
        shadow: the copies of the parameters in another dtype.
        core: the class of the optimizer for arrays that computes the constants.
    """

    core: ClassVar[type[CoreOptimizer]]
    _fixed: ClassVar[dict[str, Any]]

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...

    @property
    def state(self) -> Any: ...

    @property
    def ema(self) -> Sequence[Any]: ...

    @property
    def shadow(self) -> Sequence[Any]: ...

    @property
    def defaults(self) -> dict[str, Any]: ...

    @property
    def _core(self) -> CoreOptimizer: ...

    @property
    def _hyperparameters(self) -> Any: ...

    @property
    def _options(self) -> Options: ...

    @property
    def _entries(self) -> Any: ...

    @property
    def _handed_out(self) -> bool: ...

    @property
    def _tensor_step(self) -> Any: ...

    @staticmethod
    def _transform(author: Any, group: Any, matrix: Any) -> None: ...

    def _params(self) -> list[Any]: ...

    def _names(self) -> list[str]: ...

    def _sizes(self) -> list[int]: ...
