"""Text encoders: the embedded one for real, hub ones on tiny models of the same architectures written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as parts
from transformers import AutoModel, BertConfig, BertModel, BertTokenizerFast

from trimodal.encoders.text import ClsText, SentenceTransformerText, UseMultilingual, text_encoder
from trimodal.errors import EncoderError, ItemError, ParameterError

WORDS = ["red", "shoe", "running", "lamp", "kettle", "blue"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    BertTokenizerFast(str(vocabulary), model_max_length=16).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=11,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    BertModel(config).eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def labse(bert, tmp_path_factory):
    """A model of LaBSE's make: BERT, CLS pooling, a dense layer with tanh, normalisation."""
    folder = tmp_path_factory.mktemp("labse")
    torch.manual_seed(1)
    word = parts.Transformer(str(bert))
    pooling = parts.Pooling(32, pooling_mode="cls")
    dense = parts.Dense(32, 24)
    SentenceTransformer(modules=[word, pooling, dense, parts.Normalize()], device="cpu").save(str(folder))
    return folder


def test_embedded_encoder_knows_languages():
    encoder = text_encoder()
    assert isinstance(encoder, UseMultilingual)
    titles = ["red running shoes", "kırmızı koşu ayakkabısı", "electric kettle", "elektrikli su ısıtıcısı"]
    vectors = encoder.encode(titles)
    assert vectors.shape == (4, encoder.dimension)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 3]
    assert near[2, 3] > near[2, 1]


def test_sentence_transformers_equal_the_library_itself(labse):
    encoder = text_encoder(str(labse), device="cpu", batch_size=2)
    assert isinstance(encoder, SentenceTransformerText)
    titles = ["red shoe", "blue lamp kettle", "running"]
    wanted = SentenceTransformer(str(labse), device="cpu").encode(titles)
    assert encoder.dimension == 24
    np.testing.assert_allclose(encoder.encode(titles), wanted, atol=1e-5)
    assert "float32" in encoder.revision


def test_cls_is_the_first_token_of_the_last_layer(bert):
    encoder = text_encoder(f"cls:{bert}", device="cpu")
    assert isinstance(encoder, ClsText)
    tokenizer = BertTokenizerFast.from_pretrained(bert)
    model = AutoModel.from_pretrained(bert).eval()
    titles = ["red running shoe", "lamp", "red " * 40]
    for title, vector in zip(titles, encoder.encode(titles), strict=True):
        with torch.inference_mode():
            tokens = tokenizer(title, truncation=True, max_length=16, return_tensors="pt")
            wanted = model(**tokens).last_hidden_state[0, 0]
        np.testing.assert_allclose(vector, wanted.numpy(), atol=1e-5)
    assert encoder.dimension == 32


def test_revision_follows_the_weights(bert, tmp_path):
    first = ClsText(str(bert), device="cpu").revision
    torch.manual_seed(9)
    other = BertModel(AutoModel.from_pretrained(bert).config)
    other.save_pretrained(tmp_path)
    BertTokenizerFast.from_pretrained(bert).save_pretrained(tmp_path)
    assert ClsText(str(tmp_path), device="cpu").revision != first
    assert ClsText(str(bert), device="cpu").revision == first


def test_models_that_do_not_load_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("sentence-transformers/LaBSE", "cls:bert-base-uncased"):
        with pytest.raises(EncoderError, match=r"cannot be loaded: .*Give a local directory"):
            text_encoder(name, device="cpu")
    with pytest.raises(EncoderError, match="holds no file"):
        text_encoder(str(tmp_path), device="cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ParameterError, match="sees no CUDA device"):
            text_encoder("cls:bert", device="cuda")


def test_titles_are_folded_and_empty_ones_refused():
    encoder = text_encoder()
    assert encoder.prepare("  a\n b\t") == "a b"
    with pytest.raises(ItemError, match="title is empty"):
        encoder.prepare(" \n")
