"""Comparison of the headers of many arrays with what they were, in one call."""

from .row_passes import TABLE, VECTOR, compiled_pass
from .target import word

WORDS = 6  # whole 64-bit words of a header; half a word follows
HALF = 0xFFFFFFFF


def unchanged(headers, known, shapes, sizes, known_shapes):
    """True if all headers are as they were.

    Shapes come last, since they are only where they were if headers are equal.

    Args:
        headers: the address of each header.
        known: the words that were there.
        shapes: the address of each shape, `sizes` the number of its words.
        known_shapes: the words that were there, one shape after the other.
    """
    for k in range(len(headers)):
        for part in range(WORDS):
            if word(headers[k], part) != known[k, part]:
                return False
        if word(headers[k], WORDS) & HALF != known[k, WORDS]:
            return False
    place = 0
    for k in range(len(shapes)):
        for part in range(sizes[k]):
            if word(shapes[k], part) != known_shapes[place]:
                return False
            place += 1
    return True


same = compiled_pass(unchanged, VECTOR, TABLE, VECTOR, VECTOR, VECTOR, nogil=False)
