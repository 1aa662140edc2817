"""Whether two vocabularies are one."""

from __future__ import annotations

import numpy as np

from tide_specs import AlignmentError, SharedColumns, TextTokenizer


def shared_columns(student: TextTokenizer, teacher: TextTokenizer) -> SharedColumns:
    """Return the ids that mean the same on both sides.

    Raises:
        AlignmentError: an id means different bytes, or nothing is shared; names the first differing id.
    """
    ours, theirs = student.token_bytes(), teacher.token_bytes()
    common: list[int] = []
    last = -1
    for index, (own, other) in enumerate(zip(ours, theirs, strict=False)):
        if own == other:
            common.append(index)
            last = index if own is not None else last
        elif own is not None and other is not None:
            raise AlignmentError(
                f"the vocabularies differ: id {index} is {own!r} for the student and {other!r} for the teacher "
                f"(sizes {student.vocabulary_size} and {teacher.vocabulary_size}); use alignment 'byte_chunks', which "
                "takes any two tokenizers"
            )
    if last < 0:
        raise AlignmentError("the vocabularies share no token; use alignment 'byte_chunks'")
    if student.end_of_turn_token_id == teacher.end_of_turn_token_id:
        last = max(last, student.end_of_turn_token_id)
    kept = [index for index in common if index <= last]
    if len(kept) == last + 1:
        return SharedColumns(size=len(kept))
    ids = np.array(kept, dtype=np.int64)
    return SharedColumns(size=len(kept), student_ids=ids, teacher_ids=ids)
