from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from pydantic import ValidationError

from tide_plugins.datasets import HuggingFace
from tide_specs import DataError, Message


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def table(count: int = 40) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        {
            "messages": [
                [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}] for n in range(count)
            ],
            "text": [f"text {n}" for n in range(count)],
            "other": list(range(count)),
        }
    )


def responses(dataset: HuggingFace, split: str = "train") -> list[str]:
    return [example.messages[-1].content for example in dataset.examples(split)]


def saved(directory: Path) -> list[Path]:
    """The same table in every form that the component reads."""
    table().to_parquet(directory / "a.parquet")
    table().to_json(directory / "a.jsonl")
    table().save_to_disk(directory / "one")
    datasets.DatasetDict({"train": table(), "test": table(3)}).save_to_disk(directory / "several")
    folder = directory / "folder"
    folder.mkdir()
    table().to_parquet(folder / "train.parquet")
    arrow = next((directory / "one").glob("*.arrow"))
    return [directory / "a.parquet", directory / "a.jsonl", directory / "one", directory / "several", folder, arrow]


def test_every_local_form_gives_the_same_examples(tmp_path: Path) -> None:
    for path in saved(tmp_path):
        dataset = HuggingFace(path=str(path), evaluation_fraction=0)
        assert responses(dataset) == [f"a{n}" for n in range(40)], path
    first = next(iter(dataset.examples("train")))
    assert list(first.messages) == [
        Message(role="user", content="q0"),
        Message(role="assistant", content="a0", trainable=True),
    ]


def test_columns_have_any_name(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    datasets.Dataset.from_dict({"ask": ["1+1"], "answer": ["2"], "body": ["x"]}).to_parquet(path)
    chat = HuggingFace(path=path, prompt="ask", response="answer", evaluation_fraction=0)
    assert [message.role for message in next(chat.examples("train")).messages] == ["user", "assistant"]
    text = HuggingFace(path=path, text="body", evaluation_fraction=0)
    assert next(text.examples("train")).is_text


def test_rows_are_held_out_by_hash_or_by_split(tmp_path: Path) -> None:
    *_, several, folder, _ = saved(tmp_path)
    hashed = HuggingFace(path=str(folder), evaluation_fraction=0.3)
    train, evaluation = responses(hashed), responses(hashed, "evaluation")
    assert evaluation
    assert sorted(train + evaluation) == sorted(f"a{n}" for n in range(40))
    split = HuggingFace(path=str(several), evaluation_split="test")
    assert len(responses(split)) == 40
    assert len(responses(split, "evaluation")) == 3


def test_one_table_is_never_train_and_evaluation_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    table().to_parquet(path)
    with pytest.raises(DataError, match=r"holds one table.*evaluation_fraction"):
        responses(HuggingFace(path=path, evaluation_split="test"), "evaluation")
    with pytest.raises(ValidationError, match="must not be trained on"):
        HuggingFace(path=path, evaluation_split="train")


def test_what_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("?")
    (tmp_path / "b.parquet").write_text("not parquet")
    saved(tmp_path)
    for path, message in (
        (tmp_path / "a.xyz", r"a.xyz: unknown format '.xyz'; use one of .parquet"),
        (tmp_path / "b.parquet", r"b.parquet: split 'train' cannot be loaded: "),
        (tmp_path / "missing", r"missing: no such file or folder; check data\.path"),
    ):
        with pytest.raises(DataError, match=message):
            responses(HuggingFace(path=str(path)))
    with pytest.raises(DataError, match=r"no split 'dev'; there are train, test"):
        responses(HuggingFace(path=str(tmp_path / "several"), train_split="dev"))


def test_a_row_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in ("fine", None)))
    with pytest.raises(DataError, match=r"a.jsonl\[train\]\[1\]: 'text' must be a string, found null"):
        responses(HuggingFace(path=str(path), evaluation_fraction=0))


def test_the_fingerprint_follows_the_content_not_the_place(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 5), ("c", 6)):
        table(count).to_parquet(tmp_path / f"{name}.parquet")
    a, b, c = (HuggingFace(path=str(tmp_path / f"{name}.parquet")).fingerprint() for name in "abc")
    assert a == b != c
    assert HuggingFace(path=str(tmp_path / "a.parquet"), chat=False).fingerprint() != a
