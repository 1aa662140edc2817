"""One vocabulary, two chat templates, two paddings."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from tokenizer_kit import TEXTS, conversation, plain, real
from vocabulary_kit import Vocabulary

from tide_plugins.alignments.byte_chunks import ByteChunks
from tide_plugins.alignments.shared_vocabulary import SharedVocabulary
from tide_plugins.tokenizers.huggingface import HuggingFaceTokenizer
from tide_specs import AlignmentError, ChunkRelation, TokenKind

OTHER_TEMPLATE = (
    "{% for message in messages %}{{ 'Speaker: ' + message['role'] + '\n\n' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}"
)


@pytest.fixture(scope="module")
def retemplated() -> HuggingFaceTokenizer:
    tokenizer = copy.copy(real("qwen").tokenizer)
    tokenizer.chat_template = OTHER_TEMPLATE
    return HuggingFaceTokenizer(tokenizer, mask_token_id=None)


@settings(max_examples=40, deadline=None)
@given(prompt=TEXTS, answer=TEXTS)
def test_every_content_token_is_paired_across_templates(
    retemplated: HuggingFaceTokenizer, prompt: str, answer: str
) -> None:
    example = conversation(prompt, answer)
    student, teacher = real("qwen").encode([example])[0], retemplated.encode([example])[0]
    pair = SharedVocabulary().align(student, teacher)
    assert (pair.relation == ChunkRelation.ONE_TO_ONE).all()
    ours, theirs = student.ids[pair.student >= 0], teacher.ids[pair.teacher >= 0]
    assert ours.tolist() == theirs.tolist()
    bounding = (student.end >= 0) | (student.kind == TokenKind.END_OF_TURN)
    alone = ByteChunks().align(student, teacher)
    single = np.append(alone.relation == ChunkRelation.ONE_TO_ONE, False)[alone.student]
    assert ((pair.student >= 0) == (bounding & single)).all()


def test_tokens_that_differ_belong_to_no_chunk() -> None:
    example = plain("internationalisation of the same words")
    student, teacher = (real(name).encode([example])[0] for name in ("qwen", "deepseek"))
    pair = SharedVocabulary().align(student, teacher)
    both = student.ids[pair.student >= 0].tolist(), teacher.ids[pair.teacher >= 0].tolist()
    assert both[0] == both[1]
    assert sorted(pair.student[pair.student >= 0].tolist()) == list(range(len(pair.bytes)))


def test_a_batch_equals_its_examples() -> None:
    examples = [conversation("one two", "three four"), plain("five"), conversation("", "seven")]
    encoded = real("qwen").encode(examples)
    for alone, together in zip(
        [SharedVocabulary().align(e, e) for e in encoded], SharedVocabulary().align_batch(encoded, encoded), strict=True
    ):
        assert alone.student.tolist() == together.student.tolist()
        assert alone.bytes.tolist() == together.bytes.tolist()


def test_padded_vocabularies_are_one() -> None:
    pieces = real("qwen").token_bytes()
    filled = Vocabulary([*pieces, *[None] * 418], real("qwen").end_of_turn_token_id)
    columns = SharedVocabulary().columns(real("qwen"), filled)
    assert (columns.size, columns.student_ids, columns.teacher_ids) == (151646, None, None)


def test_ids_that_one_side_does_not_use_are_left_out() -> None:
    student, teacher = Vocabulary([b"a", b"b", b"c", b"d", None]), Vocabulary([b"a", None, b"c", b"d", b"e"])
    columns = SharedVocabulary().columns(student, teacher)
    assert columns.student_ids is not None
    assert columns.student_ids.tolist() == [0, 2, 3]
    assert columns.size == 3


def test_the_end_of_turn_token_has_a_column() -> None:
    student, teacher = Vocabulary([b"a", None, None], 2), Vocabulary([b"a", None, None, None], 2)
    assert SharedVocabulary().columns(student, teacher).size == 3


def test_different_vocabularies_are_refused_with_the_first_difference() -> None:
    with pytest.raises(AlignmentError, match=r"id 1 is b'b' for the student and b'x' for the teacher .*byte_chunks"):
        SharedVocabulary().columns(Vocabulary([b"a", b"b", b"c"]), Vocabulary([b"a", b"x", b"y"]))


def test_permuted_vocabularies_are_refused() -> None:
    with pytest.raises(AlignmentError, match="id 0"):
        SharedVocabulary().columns(Vocabulary([b"a", b"b"]), Vocabulary([b"b", b"a"]))


def test_vocabularies_without_a_common_token_are_refused() -> None:
    with pytest.raises(AlignmentError, match="share no token"):
        SharedVocabulary().columns(Vocabulary([None, None]), Vocabulary([None]))
