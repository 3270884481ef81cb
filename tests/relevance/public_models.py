"""Public models small enough for a test: a tiny BERT as a bi-encoder and a cross-encoder, and a tiny CLIP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = (
    "mug",
    "sofa",
    "tent",
    "red",
    "cheap",
    "best",
    "new",
    "sale",
    "tap",
    "to",
    "shop",
    "look",
    "at",
    "my",
)


def tokenizer(words: tuple[str, ...]) -> Any:
    """A tokenizer of whole words, which writes [CLS] and [SEP] around a text and between two."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import BertProcessing
    from transformers import PreTrainedTokenizerFast

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    model = Tokenizer(WordPiece({word: i for i, word in enumerate((*special, *words))}, unk_token="[UNK]"))
    model.pre_tokenizer = Whitespace()
    model.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=model, model_max_length=24, model_input_names=inputs,
        **dict(zip(names, special, strict=True)),
    )  # fmt: skip


def bert(folder: Path, words: tuple[str, ...] = WORDS, labels: int | None = None) -> Path:
    """A BERT with random weights and a vocabulary of words, in the transformers format.

    Args:
        labels: outputs of a classifier; None: it has none.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    tokenizer(words).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(
        vocab_size=len(words) + 5, max_position_embeddings=32, initializer_range=0.4, **sizes,
        **({} if labels is None else {"num_labels": labels}),
    )  # fmt: skip
    (BertModel if labels is None else BertForSequenceClassification)(config).save_pretrained(folder)
    return folder


def bi_encoder(folder: Path, similarity: str = "cosine") -> Path:
    """A folder of sentence-transformers: a tiny BERT, mean pooling, normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(bert(folder / "plain")))
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    modules = [transformer, pooling, *([Normalize()] if similarity == "cosine" else [])]
    SentenceTransformer(modules=modules, similarity_fn_name=similarity, device="cpu").save(
        str(folder / "model"), create_model_card=False
    )
    return folder / "model"


def clip(folder: Path) -> Path:
    """A tiny CLIP, which takes texts and pictures."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPProcessor,
        CLIPTextConfig,
        CLIPVisionConfig,
    )

    plain = folder / "plain"
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer(WORDS)).save_pretrained(plain)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            vocab_size=len(WORDS) + 5, max_position_embeddings=24, eos_token_id=3, bos_token_id=2,
            pad_token_id=0, **sizes,
        ).to_dict(),
        vision_config=CLIPVisionConfig(image_size=32, patch_size=16, **sizes).to_dict(),
        projection_dim=8,
    )  # fmt: skip
    CLIPModel(config).save_pretrained(plain)
    SentenceTransformer(modules=[Transformer(str(plain))], device="cpu").save(
        str(folder / "model"), create_model_card=False
    )
    return folder / "model"
