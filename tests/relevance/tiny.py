"""A labelled corpus and a training small enough for a test.

Three products have a colour and a word each.
"""

from __future__ import annotations

import numpy as np

from relevance.corpus import Corpus, LabelledCorpus, Labels
from relevance.hcmrm.training.train_config import TrainConfig

WORDS = ("mug", "sofa", "tent")

TINY_TRAINING = TrainConfig(
    word_steps=2,
    align_steps=3,
    align_batch=8,
    finetune_steps=6,
    ads_per_step=4,
    pairs_per_ad=4,
    warm_up=2,
    validate_every=3,
    vocab_size=120,
    model={
        "hidden_size": 16,
        "num_heads": 2,
        "intermediate_size": 32,
        "conv_stem": (8, 8, 8, 16),
        "embed_dim": 8,
        "frame_markers": True,
        "word_markers": True,
    },
)


def tiny_corpus(n_ads: int = 24) -> LabelledCorpus:
    """Ads of the three products in turn; every query is graded on every ad: 3 for its product, else 0."""
    rng = np.random.default_rng(5)
    product = np.arange(n_ads) % 3
    frames = rng.integers(200, 255, (n_ads, 3, 48, 48, 3)).astype(np.uint8)
    frames[np.arange(n_ads), :, 12:36, 12:36, product] = 20
    query_text = tuple(
        f"{adjective} {word}" for adjective in ("red", "cheap", "best", "new") for word in WORDS
    )
    corpus = Corpus(
        query_text=query_text,
        ad_title=tuple(f"{WORDS[p]} sale" for p in product),
        ad_ocr=tuple("tap to shop" for _ in product),
        ad_asr=tuple(f"look at my {WORDS[p]}" for p in product),
        frames=frames,
    )
    query, ad = (
        index.ravel() for index in np.meshgrid(np.arange(len(query_text)), np.arange(n_ads), indexing="ij")
    )
    grade = np.where(query % 3 == product[ad], 3 - (ad // 3) % 2, (ad // 3) % 2)
    split = np.where(query < 6, 0, np.where(query < 9, 1, 2))
    return LabelledCorpus(corpus, Labels(query, ad, grade, split))
