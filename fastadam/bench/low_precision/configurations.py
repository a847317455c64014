"""How the parameters of an AdamW step, their gradients and its state are kept."""

from dataclasses import dataclass, field
from typing import Any

HALF_BITS = 2.0**-9  # what rounding to bfloat16 changes at most, relative to a number
BITS_24 = 2.0**-17  # to a float of 24 bits, or to two of bfloat16
BITS_32 = 2.0**-24
CODES = (
    2.0**-5
)  # of state as int8: root mean square of rounding by chance to an eighth of an octave


@dataclass(frozen=True)
class Configuration:
    """Dtypes of parameters and gradients, and options of the optimizer.

    Attributes:
        rounding: how far the roughest of what a step writes is from what it should be, relatively.
    """

    label: str
    param: str = "float32"
    grad: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    rounding: float = BITS_32


def _half(label: str, bits: float, **options: Any) -> Configuration:
    """Parameters and gradients in bfloat16."""
    return Configuration(label, "bfloat16", "bfloat16", options, bits)


FLOAT32 = Configuration("float32")
INT8 = Configuration("int8 state", options={"state_dtype": "int8"}, rounding=CODES)
SMALLEST = _half("bfloat16, split8, int8 state", CODES, compensation="split8", state_dtype="int8")
CONFIGURATIONS = (
    FLOAT32,
    Configuration("bfloat16 state", options={"state_dtype": "bfloat16"}, rounding=HALF_BITS),
    INT8,
    Configuration("bfloat16 gradients", grad="bfloat16"),
    _half("bfloat16", HALF_BITS),
    _half("bfloat16, stochastic", 2 * HALF_BITS, rounding="stochastic"),
    _half("bfloat16, kahan", BITS_24, compensation="kahan"),
    _half("bfloat16, split16", BITS_32, compensation="split16"),
    _half("bfloat16, split8", BITS_24, compensation="split8"),
    SMALLEST,
)
