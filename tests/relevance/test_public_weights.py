"""Models that start from public weights: what they compute at first, and what a training leaves of it."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from relevance.hcmrm import Checkpoint, HcmrmScorer
from relevance.hcmrm.efficient_net import STAGES, STEM, SameConv
from relevance.hcmrm.importing import import_bert, write_imported
from relevance.hcmrm.text_batch import TextBatch
from relevance.hcmrm.training.frozen_pairs import FrozenPairs, score_frozen
from relevance.hcmrm.training.losses import GRADE_HEADS
from relevance.hcmrm.training.train import TrainProgress, train
from relevance.hcmrm.training.train_config import CRITERIA, PUBLIC, TrainConfig, TrainError
from relevance.hcmrm.vocabulary import read_tokenizer
from tests.relevance.tiny import WORDS, tiny_corpus

VOCABULARY = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "red", "cheap", "best", "new", "sale", "tap", "to",
    "shop", "look", "at", "my",
)  # fmt: skip
CONFIG = dataclasses.replace(
    TrainConfig(),
    **{
        **PUBLIC,
        "align_steps": 3,
        "align_batch": 8,
        "pqvm_ads": 4,
        "pqvm_common": 0.9,
        "finetune_steps": 6,
        "ads_per_step": 4,
        "validate_every": 2,
    },
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def write_bert(folder: Path, *, sentences: bool = True, seed: int = 3) -> Path:
    """A tiny BERT as transformers writes it, as a sentence encoder or not."""
    torch.manual_seed(seed)
    bert = BertModel(
        BertConfig(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=28,
                   vocab_size=len(VOCABULARY), max_position_embeddings=60, initializer_range=0.4)
    )  # fmt: skip
    bert.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    if sentences:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def write_efficient_net(path: Path) -> dict[str, torch.Tensor]:
    """Random weights of EfficientNet-Lite0 under the names of the public file."""
    generator = torch.Generator().manual_seed(1)
    tensors: dict[str, torch.Tensor] = {}

    def convolution(name: str, *shape: int) -> None:
        fan = shape[1] * shape[2] * shape[3]
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5

    def norm(name: str, size: int) -> None:
        for kind, low in (("weight", 0.8), ("bias", -0.1), ("running_mean", -0.1), ("running_var", 0.8)):
            tensors[f"{name}.{kind}"] = low + 0.4 * torch.rand(size, generator=generator)
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("_conv_stem", STEM, 3, 3, 3)
    norm("_bn0", STEM)
    before, number = STEM, 0
    for expansion, kernel, _, after, count in STAGES:
        for _ in range(count):
            block, inner = f"_blocks.{number}", before * expansion
            if expansion > 1:
                convolution(f"{block}._expand_conv", inner, before, 1, 1)
                norm(f"{block}._bn0", inner)
            convolution(f"{block}._depthwise_conv", inner, 1, kernel, kernel)
            norm(f"{block}._bn1", inner)
            convolution(f"{block}._project_conv", after, inner, 1, 1)
            norm(f"{block}._bn2", after)
            before, number = after, number + 1
    convolution("_conv_head", 1280, before, 1, 1)
    norm("_bn1", 1280)
    tensors["_fc.bias"] = torch.zeros(1000)
    torch.save(tensors, path)
    return tensors


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def start(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_imported(import_bert(bert), read_tokenizer(bert), {"bert": "tiny"}, folder)
    return folder


@pytest.fixture(scope="module")
def texts() -> LabelledCorpus:
    """The tiny corpus without frames, as a training has it."""
    data = tiny_corpus()
    black = np.broadcast_to(np.uint8(0), (data.corpus.n_ads, 1, 16, 16, 3))
    return dataclasses.replace(data, corpus=dataclasses.replace(data.corpus, frames=black))


def test_the_start_ranks_by_the_cosine_of_the_sentence_encoder(
    bert: Path, start: Path, texts: LabelledCorpus
) -> None:
    theirs, tokenizer = BertModel.from_pretrained(bert).eval(), read_tokenizer(bert)

    def embedding(text: str) -> torch.Tensor:
        ids = torch.tensor([[2, *tokenizer.encode(text, add_special_tokens=False).ids, 3]])
        return theirs(ids).last_hidden_state[0].mean(dim=0)

    scorer = HcmrmScorer.load(texts.corpus, start)
    query, ad = np.array([0, 1, 4, 7, 9, 11]), np.array([0, 1, 2, 0, 5, 1])
    score = scorer.score(query, ad)
    with torch.inference_mode():
        asked = torch.stack([embedding(texts.corpus.query_text[one]) for one in query])
        offered = torch.stack([embedding(texts.corpus.ad_text(one)) for one in ad])
        cosine = torch.cosine_similarity(asked, offered).numpy()
        ours = scorer.model.prior.read(scorer.model.text_encoder, scorer.text(query, ad)).numpy()
    assert ours[:, 0] == pytest.approx(cosine, abs=1e-5)
    assert list(np.argsort(score)) == list(np.argsort(cosine))
    # The same to the last bit, whatever the batch.
    assert [scorer.score(query[i : i + 1], ad[i : i + 1])[0] for i in range(6)] == score.tolist()


def test_late_interaction(bert: Path, start: Path, texts: LabelledCorpus) -> None:
    """Each query token against every token of the ad, by the lower layers of the BERT alone."""
    theirs, tokenizer = BertModel.from_pretrained(bert).eval(), read_tokenizer(bert)

    def tokens(text: str) -> torch.Tensor:
        ids = torch.tensor([[2, *tokenizer.encode(text, add_special_tokens=False).ids, 3]])
        states = theirs(ids, output_hidden_states=True).hidden_states
        return torch.nn.functional.normalize(states[scorer.model.config.text_layers][0, 1:-1], dim=-1)

    scorer = HcmrmScorer.load(texts.corpus, start)
    query, ad = np.array([0, 1, 4, 7, 9, 11]), np.array([0, 1, 2, 0, 5, 1])
    with torch.inference_mode():
        ours = scorer.model.prior.read(scorer.model.text_encoder, scorer.text(query, ad)).numpy()
        for row, (q, a) in enumerate(zip(query, ad, strict=True)):
            asked, offered = tokens(texts.corpus.query_text[q]), tokens(texts.corpus.ad_text(a))
            nearest = (asked @ offered.T).amax(dim=1)
            expected = torch.stack((nearest.mean(), nearest.min(), nearest[-1])).numpy()
            assert ours[row, 1:] == pytest.approx(expected, abs=1e-5)
    # A query or an ad without a token is like nothing.
    ids, kind = torch.tensor([[2, 5, 3, 3], [2, 3, 6, 3]]), torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]])
    with torch.inference_mode():
        empty = scorer.model.prior.read(scorer.model.text_encoder, TextBatch(ids, torch.ones_like(ids), kind))
    assert not empty[:, 1:].any()


def test_the_prior_is_fitted_as_a_regression(start: Path) -> None:
    """The minimum is found: no weights have less loss and shrinkage. Noise gets next to no weight."""
    prior = Checkpoint.load(start).model.prior
    rng = np.random.default_rng(5)
    numbers = rng.normal([0.3, 0.6, 0.4, 0.5], [0.2, 0.1, 0.2, 0.3], (400, 4))
    grade = torch.tensor(3 * (rng.random(400) < 1 / (1 + np.exp(-12 * (numbers[:, 1] - 0.6)))))
    given = torch.tensor(numbers, dtype=torch.float32)
    head = GRADE_HEADS["hierarchical"]
    prior.fit(given, lambda logits: head.loss(logits, grade))

    def penalised(weight: torch.Tensor, bias: torch.Tensor) -> float:
        shrunk = (weight * given.std(dim=0)).square().sum() / (2 * len(given))
        return float(head.loss(given @ weight.T + bias, grade) + shrunk)

    weight, bias = prior.head.weight.detach(), prior.head.bias.detach()
    least = penalised(weight, bias)
    for row, column in np.ndindex(*weight.shape):
        for step in (-0.3, 0.3):
            other = weight.clone()
            other[row, column] += step
            assert penalised(other, bias) > least
    standard = weight[0] * given.std(dim=0)
    assert standard[1] > 1.0
    assert standard[[0, 2, 3]].abs().max() < 0.3


def test_a_plain_bert_has_no_such_cosine(tmp_path: Path) -> None:
    model = import_bert(write_bert(tmp_path / "bert", sentences=False))
    assert model.prior is None
    assert not model.config.use_frames
    assert model.fusion_layers[0].cross is None


def test_frames_change_nothing_before_a_training(bert: Path, tmp_path: Path) -> None:
    write_efficient_net(tmp_path / "net.pth")
    model = import_bert(bert, tmp_path / "net.pth", image_size=64, n_frames=3)
    assert model.config.backbone == "efficientnet_lite0"
    frames = torch.randint(0, 255, (2, 3, 64, 64, 3), dtype=torch.uint8)
    visual = model.visual_tokens(frames)
    assert visual.shape == (2, 3 * (1 + 4), 320)
    ids = torch.tensor([[2, 5, 3, 6, 3], [2, 8, 3, 7, 3]])
    text = model_text(ids)
    theirs = BertModel.from_pretrained(bert).eval()(ids, text.mask, text.token_type).last_hidden_state
    with torch.inference_mode():
        fused = model.fuse(text, visual, torch.tensor([0, 1]))
        assert torch.allclose(fused, theirs, atol=1e-5)
        for layer in model.fusion_layers:
            layer.cross_gate.fill_(0.5)
        assert not torch.allclose(model.fuse(text, visual, torch.tensor([0, 1])), theirs, atol=1e-3)


def model_text(ids: torch.Tensor):  # type: ignore[no-untyped-def]
    kind = torch.zeros_like(ids)
    kind[:, 3:] = 1
    return TextBatch(ids, (ids != 0).long(), kind)


def test_features_of_efficient_net(bert: Path, tmp_path: Path) -> None:
    """Against the network written out with the names of the public file."""
    w = write_efficient_net(tmp_path / "net.pth")
    model = import_bert(bert, tmp_path, image_size=64)
    f = torch.nn.functional

    def same(x: torch.Tensor, weight: torch.Tensor, stride: int, groups: int = 1) -> torch.Tensor:
        size, kernel = x.shape[-1], weight.shape[-1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        x = f.pad(x, (total // 2, total - total // 2) * 2)
        return f.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return f.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-3)

    x = torch.randn(2, 3, 64, 64)
    y = f.relu6(norm(same(x, w["_conv_stem.weight"], 2), "_bn0"))
    number = 0
    for expansion, _, stride, _, count in STAGES:
        for i in range(count):
            block, before = f"_blocks.{number}", y
            if expansion > 1:
                y = f.relu6(norm(same(y, w[f"{block}._expand_conv.weight"], 1), f"{block}._bn0"))
            depthwise = w[f"{block}._depthwise_conv.weight"]
            y = same(y, depthwise, stride if i == 0 else 1, len(depthwise))
            y = norm(
                same(f.relu6(norm(y, f"{block}._bn1")), w[f"{block}._project_conv.weight"], 1),
                f"{block}._bn2",
            )
            y, number = (y + before if i else y), number + 1
    model.train()  # which leaves the batch norms as they are
    with torch.no_grad():
        assert torch.allclose(model.visual_encoder.features(x), y, rtol=1e-3, atol=1e-4)
    # A pixel is (x - 127) / 128.
    grey = model.visual_encoder.pixels(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8))
    assert grey.numpy() == pytest.approx(np.ones((1, 3, 2, 2)), abs=1e-6)


def test_padding_by_hand() -> None:
    layer = SameConv(1, 1, 3, stride=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    # Of four places, one is added at the right alone: windows 0-2 and 2-4.
    row = layer(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]))
    assert row.flatten().tolist() == [6.0, 7.0]


def test_visual_weights_of_another_model_are_named(bert: Path, tmp_path: Path) -> None:
    tensors = write_efficient_net(tmp_path / "net.pth")
    torch.save({**tensors, "_blocks.3._se.weight": torch.zeros(1)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"'_blocks.3._se.weight' has no place in this model"):
        import_bert(bert, tmp_path / "net.pth")
    del tensors["_blocks.3._bn1.running_var"]
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"lacks the tensor '_blocks.3._bn1.running_var'"):
        import_bert(bert, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="image size 100: must be a multiple of the patch size 32"):
        import_bert(bert, tmp_path / "net.pth", image_size=100)
    ViTModel(
        ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40,
                  image_size=16, patch_size=4)
    ).save_pretrained(tmp_path / "vit")  # fmt: skip
    assert import_bert(bert, tmp_path / "vit").config.backbone == "vit"


def test_a_training_leaves_what_is_frozen(start: Path, texts: LabelledCorpus, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, init=str(start), patience=0, rate=1e-3)
    before, after = Checkpoint.load(start).model, train(texts, tmp_path, config).model
    own, given = after.state_dict(), before.half().float().state_dict()
    changed = {name for name, value in own.items() if not torch.equal(value, given[name])}
    kept = ("text_encoder.", "prior.layers.", "visual_encoder.")
    assert not [name for name in changed if name.startswith(kept)]
    assert {"prior.head.weight", "grade_head.weight", "fusion_layers.1.mlp.0.weight"} <= changed


def _trained(data: LabelledCorpus, out: Path, config: TrainConfig) -> tuple[Checkpoint, list[int]]:
    """The checkpoint, and the steps that were validated."""
    validated: list[int] = []

    def note(progress: TrainProgress) -> None:
        if progress.validation is not None:
            validated.append(progress.step)

    return train(data, out, config, progress=note), validated


@pytest.mark.parametrize(
    ("values", "steps", "chosen"),
    [((0.9, 0.8, 0.85), [0, 2, 4], 0), ((0.5, 0.9, 0.8, 0.7), [0, 2, 4, 6], 2)],
)  # fmt: skip
def test_early_stopping(
    start: Path,
    texts: LabelledCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: tuple[float, ...],
    steps: list[int],
    chosen: int,
) -> None:
    """After two validations without a better one it ends, and the best weights count, be it the start's."""
    found = iter(values)
    monkeypatch.setitem(CRITERIA, "auc_ndcg", lambda metrics: next(found))
    config = dataclasses.replace(CONFIG, init=str(start), stages=("finetune",), finetune_steps=40, rate=1e-3)
    trained, validated = _trained(texts, tmp_path, config)
    assert validated == steps
    assert trained.training["chosen_step"] == chosen
    # Until the first step the grade head is zero, and the prior ranks alone.
    assert trained.model.grade_head.weight.any() == (chosen > 0)
    assert trained.model.prior.head.weight[0].all()
    # The same command again neither trains nor changes anything.
    again, validated = _trained(texts, tmp_path, config)
    assert not validated
    assert again.training == trained.training


def test_without_patience_all_steps_are_done(start: Path, texts: LabelledCorpus, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, init=str(start), stages=("finetune",), patience=0)
    assert _trained(texts, tmp_path, config)[1] == [2, 4, 6]


@pytest.mark.parametrize("at", [("align", 2), ("finetune", 0), ("finetune", 3)])
def test_a_stop_changes_nothing(
    start: Path, texts: LabelledCorpus, tmp_path: Path, at: tuple[str, int]
) -> None:
    config = dataclasses.replace(CONFIG, init=str(start), patience=9)
    whole = train(texts, tmp_path / "whole", config)

    class StopError(Exception):
        pass

    def stop(progress: TrainProgress) -> None:
        if (progress.stage, progress.step) == at:
            raise StopError

    with pytest.raises(StopError):
        train(texts, tmp_path / "halves", config, progress=stop, save_every_s=0.0)
    halves, validated = _trained(texts, tmp_path / "halves", config)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, halves.model.state_dict()[name]), name
    assert validated[-1] == 6


def test_the_cosine_can_be_left_out(start: Path, texts: LabelledCorpus, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, init=str(start), stages=("finetune",))
    trained = train(texts, tmp_path / "none", dataclasses.replace(config, model={"prior_layers": 0}))
    assert trained.model.prior is None
    with pytest.raises(TrainError, match=r"model.prior_layers 1: .* has 2; take as many, or 0"):
        train(texts, tmp_path / "one", dataclasses.replace(config, model={"prior_layers": 1}))


def test_what_is_kept_of_pairs_gives_the_scorer_s_scores(
    start: Path, texts: LabelledCorpus, tmp_path: Path
) -> None:
    kept_by: list[FrozenPairs] = []
    config = dataclasses.replace(CONFIG, init=str(start), stages=("finetune",))
    trained = train(texts, tmp_path / "a", config)
    labels = texts.labels.of("test")
    scorer = HcmrmScorer(trained, texts.corpus)
    from relevance.hcmrm.text import TokenTable

    sequences = [trained.keywords(text) for text in texts.corpus.ad_texts()]
    kept_by.append(FrozenPairs(TokenTable.build(trained.tokenizer, texts.corpus.query_text, sequences)))
    scores = score_frozen(trained.model, kept_by[0], labels.query, labels.ad)
    assert scores == pytest.approx(scorer.score(labels.query, labels.ad), abs=1e-5)
    # Shared with another training it changes nothing but rounding.
    again = train(texts, tmp_path / "b", config, kept=kept_by[0])
    for name, value in trained.model.state_dict().items():
        assert torch.allclose(value, again.model.state_dict()[name], atol=1e-3), name


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("frozen", ("text",), r"frozen 'text': there is no such part; take some of text_encoder"),
        ("patience", -1, "patience must be at least 0"),
        ("head_rate", 0.0, "head_rate must be greater than 0"),
        ("pqvm_common", 1.5, "pqvm_common must be at most 1"),
    ],
)  # fmt: skip
def test_settings_are_checked(
    texts: LabelledCorpus, tmp_path: Path, field: str, value: object, message: str
) -> None:
    with pytest.raises(TrainError, match=message):
        train(texts, tmp_path, dataclasses.replace(CONFIG, **{field: value}))


def test_a_sentence_encoder_with_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps([1]))
    with pytest.raises(CheckpointError, match=r"1_Pooling/config.json: cannot be read"):
        import_bert(folder)
