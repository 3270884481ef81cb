"""What the settings of a training do: the loss, pseudo-queries, the choice of the checkpoint."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relevance.corpus import LabelledCorpus
from relevance.hcmrm import HCMRM, SHIPPED, Checkpoint, HCMRMConfig, HcmrmScorer
from relevance.hcmrm.model import TextBatch
from relevance.hcmrm.text import SEP
from relevance.hcmrm.text_batch import parts_by_length
from relevance.hcmrm.training.losses import GRADE_HEADS
from relevance.hcmrm.training.pretraining import MomentumEncoders, Pretraining, TrainingTexts
from relevance.hcmrm.training.train import TrainProgress, train
from relevance.hcmrm.training.train_config import CRITERIA, SHUFFLES, TrainConfig, TrainError
from relevance.hcmrm.training.trainer import Trainer, _draw_halves, _draw_others, _in_half
from relevance.metrics import RelevanceMetrics
from relevance.protocol import check_scorer

from .tiny import TINY_TRAINING, tiny_corpus


@pytest.fixture(scope="module")
def branded() -> LabelledCorpus:
    """The tiny corpus with more ads, each of a brand of its own: words rare enough for pseudo-queries."""
    data = tiny_corpus(66)
    titles = tuple(f"{title} brand{i}" for i, title in enumerate(data.corpus.ad_title))
    return dataclasses.replace(data, corpus=dataclasses.replace(data.corpus, ad_title=titles))


def _losses(data: LabelledCorpus, out: Path, config: TrainConfig, stage: str = "") -> list[float]:
    """The losses that a training reports, of one stage or of all."""
    seen: list[float] = []

    def note(progress: TrainProgress) -> None:
        if stage in ("", progress.stage):
            seen.append(progress.loss)

    train(data, out, config, progress=note)
    return seen


def test_short_and_long_pairs_apart_give_the_losses_of_all_at_once(tmp_path, monkeypatch) -> None:
    apart = _losses(tiny_corpus(), tmp_path / "apart", TINY_TRAINING, "finetune")
    widths = []

    def at_once(text: TextBatch, n_parts: int) -> list[tuple[torch.Tensor, TextBatch]]:
        widths.append([part.mask.shape[1] for _, part in parts_by_length(text, n_parts)])
        return [(torch.arange(len(text.mask)), text)]

    monkeypatch.setattr("relevance.hcmrm.training.trainer.parts_by_length", at_once)
    assert apart == pytest.approx(_losses(tiny_corpus(), tmp_path / "whole", TINY_TRAINING, "finetune"), 1e-4)
    assert any(short < long for short, long in widths)


def test_labels_that_tell_no_models_apart_are_refused_before_the_work(tmp_path: Path) -> None:
    data = tiny_corpus()
    alike = dataclasses.replace(data, labels=dataclasses.replace(data.labels, grade=0 * data.labels.grade))
    with pytest.raises(TrainError, match="labels of the validation split cannot tell models apart"):
        train(alike, tmp_path / "model", TINY_TRAINING)
    assert not [*tmp_path.glob("model/*")]


def test_a_model_of_other_frames_than_the_corpus_has_is_refused(tmp_path: Path) -> None:
    wrong = (
        ("image_size", 96, "image_size: must be 48, as the corpus's frames have, got 96"),
        ("token_types", 3, "token_types 3: needs 4"),
        ("frame_tokens", 5, "frame_tokens 5: must be a square number"),
        ("match_head", False, "match_head: must be true, or left out"),
    )
    for size, value, words in wrong:
        config = dataclasses.replace(
            TINY_TRAINING, itm_weight=1.0, model={**TINY_TRAINING.model, size: value}
        )
        with pytest.raises(TrainError, match=words):
            train(tiny_corpus(), tmp_path / "model", config)


@pytest.mark.parametrize("loss", GRADE_HEADS)
def test_every_loss_trains_a_scorer(tmp_path: Path, loss: str) -> None:
    data = tiny_corpus()
    config = dataclasses.replace(TINY_TRAINING, align_steps=0, finetune_steps=2, loss=loss)
    checkpoint = train(data, tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["grade_head"] == loss
    scorer = HcmrmScorer(checkpoint, data.corpus)
    assert check_scorer(scorer, data.corpus, np.random.default_rng(0)) == []
    score, probabilities = scorer.read(np.array([0, 1, 2]), np.array([3, 4, 5]))
    if loss in ("bce", "ranknet"):
        assert probabilities is None
    else:
        assert probabilities is not None
        assert probabilities @ np.array([0.0, 0.2, 0.6, 1.0]) == pytest.approx(score)


@pytest.mark.parametrize(
    ("loss", "auxiliary", "same"),
    [("bce", "grades", True), ("hierarchical", "branches", False), ("bce", "branches", True)],
)
def test_binary_labels_are_all_that_a_binary_model_reads(
    tmp_path: Path, loss: str, auxiliary: str, same: bool
) -> None:
    """Grades that are exchanged within their branches change nothing, in no stage."""
    data = tiny_corpus()
    trained, grade = data.labels.split == 0, data.labels.grade
    exchanged = dataclasses.replace(data.labels, grade=np.where(trained, grade ^ 1, grade))
    other = dataclasses.replace(data, labels=exchanged)
    settings = {"loss": loss, "auxiliary": auxiliary, "choose_by": "auc", "mix": (0.4, 0.1, 0.1, 0.4)}
    config = dataclasses.replace(TINY_TRAINING, **settings)
    models = [
        train(corpus, tmp_path / name, config).model.state_dict()
        for name, corpus in (("own", data), ("exchanged", other))
    ]
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items()) == same


def test_beside_a_graded_loss_nothing_reads_grades_where_so_asked(tmp_path: Path) -> None:
    """With a loss of no weight on grades: exchanged grades change neither draws nor the other losses."""
    data = tiny_corpus()
    exchanged = dataclasses.replace(data.labels, grade=data.labels.grade ^ 1)
    other = dataclasses.replace(data, labels=exchanged)
    for auxiliary, same in (("branches", True), ("grades", False)):
        config = dataclasses.replace(TINY_TRAINING, auxiliary=auxiliary, stages=("words", "align"))
        losses = [
            _losses(corpus, tmp_path / f"{auxiliary}-{name}", config)
            for name, corpus in (("own", data), ("exchanged", other))
        ]
        assert (losses[0] == losses[1]) == same


def test_losses_start_from_equal_encoders(tmp_path: Path) -> None:
    # No step moves anything at a rate of 0, so that the checkpoints hold the random starts.
    data, starts = tiny_corpus(), []
    still = {"word_rate": 0.0, "align_rate": 0.0, "rate": 0.0, "finetune_steps": 1, "align_steps": 0}
    for loss in ("hierarchical", "bce"):
        config = dataclasses.replace(TINY_TRAINING, loss=loss, **still)
        starts.append(train(data, tmp_path / loss, config).model.state_dict())
    for name, value in starts[0].items():
        if name.startswith("grade_head"):
            assert value.shape != starts[1][name].shape
        else:
            assert torch.equal(value, starts[1][name]), name


def test_pseudo_queries_are_learnt(branded: LabelledCorpus, tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY_TRAINING,
        align_steps=30,
        align_batch=16,
        align_rate=1e-2,
        finetune_steps=1,
        pqvm_weight=100.0,  # so that the loss is nearly this one alone
        pqvm_ads=8,
        pqvm_word_dropout=0.0,
        pqvm_text_dropout=0.0,
    )
    losses = _losses(branded, tmp_path, config, "align")
    assert np.mean(losses[:3]) > 65.0  # at chance 100 ln 2
    assert np.mean(losses[-5:]) < 50.0


def test_without_weight_nothing_of_it_is_drawn(branded: LabelledCorpus, tmp_path: Path) -> None:
    plain = _losses(branded, tmp_path / "plain", TINY_TRAINING, "align")
    off = _losses(branded, tmp_path / "off", dataclasses.replace(TINY_TRAINING, pqvm_ads=3), "align")
    on = _losses(branded, tmp_path / "on", dataclasses.replace(TINY_TRAINING, pqvm_weight=1.0), "align")
    assert off == plain
    assert on[0] > plain[0] + 0.5


def test_words_are_read_off_frames_by_their_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pretraining, "read_off_loss", lambda *_: torch.tensor(1000.0))
    losses = {}
    for weight in (0.0, 1.0, 2.0):
        config = dataclasses.replace(TINY_TRAINING, read_off_weight=weight, stages=("align",))
        [losses[weight], *_] = _losses(tiny_corpus(), tmp_path / str(weight), config)
    assert losses[0.0] < 500.0
    assert losses[2.0] - losses[1.0] == pytest.approx(losses[1.0] - losses[0.0], abs=1e-2)
    assert losses[1.0] - losses[0.0] >= 1000.0


def test_a_stop_amid_pre_training_changes_nothing(branded: LabelledCorpus, tmp_path: Path) -> None:
    config = dataclasses.replace(
        TINY_TRAINING, pqvm_weight=1.0, loss="bce", itm_weight=1.0, momentum=0.9, queue=12, soft_ramp=2
    )
    whole = train(branded, tmp_path / "whole", config)

    class StopError(Exception):
        pass

    def stop(progress: TrainProgress) -> None:
        if (progress.stage, progress.step) == ("align", 2):
            raise StopError

    with pytest.raises(StopError):
        train(branded, tmp_path / "halves", config, progress=stop, save_every_s=0.0)
    halves = train(branded, tmp_path / "halves", config)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, halves.model.state_dict()[name]), name


def test_hard_negatives_are_never_alike(branded: LabelledCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ads 0 to 7; those two apart share a word. With no ad left but itself, the first has no negative.
    config = dataclasses.replace(TINY_TRAINING, itm_weight=1.0)
    texts = TrainingTexts.build(branded.corpus, np.arange(66), np.arange(6), 120)
    model = HCMRM(HCMRMConfig(vocab_size=len(texts.tokenizer), match_head=True, **config.model))
    stage = Pretraining(model, texts, branded.corpus.frames, config)
    alike = torch.eye(8, dtype=torch.bool) | torch.eye(8).roll(2, 1).bool() | torch.eye(8).roll(-2, 1).bool()
    alike[0, :] = alike[:, 0] = True
    own = texts.tables.pairs(None, np.arange(8), markers=False)
    seen: list[tuple[int, int]] = []
    right = torch.tensor([math.log(3.0), 0.0])  # P(no match) = 3/4 for every pair

    def match_logits(text: TextBatch, visual: torch.Tensor, ad: torch.Tensor) -> torch.Tensor:
        rows = [own.input_ids.tolist().index(row) for row in text.input_ids.tolist()]
        seen.extend(zip(rows, ad.tolist(), strict=True))
        return right.expand(len(ad), 2)

    monkeypatch.setattr(model, "match_logits", match_logits)
    loss = stage._hard_matching_loss(
        own, torch.zeros(8, 1, 16), torch.randn(8, 8), alike, np.random.default_rng(0)
    )
    assert seen[:8] == [(i, i) for i in range(8)]
    assert len(seen) == 8 + 7 + 7  # a negative text for each frame, a negative frame for each text
    assert not any(alike[text, ad] for text, ad in seen[8:])
    # Eight matches at ln 4, fourteen others at ln 4/3.
    assert loss.item() == pytest.approx((8 * math.log(4.0) + 14 * math.log(4 / 3)) / 22, abs=1e-6)


def test_momentum_encoders_follow_and_queue() -> None:
    torch.manual_seed(0)
    model = HCMRM(HCMRMConfig(vocab_size=40, **TINY_TRAINING.model))
    slow = MomentumEncoders(model, 0.75, 3)
    with torch.no_grad():
        model.grade_head.bias += 4.0
    slow.follow(model)
    assert (slow.model.grade_head.bias - model.grade_head.bias).tolist() == [-3.0] * 3
    assert not any(parameter.requires_grad for parameter in slow.model.parameters())

    size = model.config.embed_dim
    slow.push(torch.full((2, size), 1.0), torch.full((2, size), 2.0), np.array([5, 6]))
    assert slow.ads.tolist() == [5, 6]
    slow.push(torch.full((2, size), 3.0), torch.full((2, size), 4.0), np.array([7, 8]))
    assert slow.ads.tolist() == [7, 8, 5]
    assert slow.frames[:, 0].tolist() == [3.0, 3.0, 1.0]
    assert slow.texts[:, 0].tolist() == [4.0, 4.0, 2.0]


def test_another_ad_is_never_about_the_same() -> None:
    # Ads 0 and 2 are alike, and so are 1 and 2; ad 3 is like all others and finds nobody.
    alike = np.array([[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=bool)
    place, found = _draw_others(alike, np.array([0, 1, 0, 2, 3]), np.random.default_rng(0))
    assert found.tolist() == [True, True, True, False, False]
    assert place[:3].tolist() == [1, 0, 1]
    nobody, _ = _draw_others(np.zeros((1, 1), dtype=bool), np.array([0]), np.random.default_rng(0))
    assert len(nobody) == 1


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_shuffled_ads_take_frames_or_text_of_another(
    branded: LabelledCorpus, monkeypatch: pytest.MonkeyPatch, shuffle: str
) -> None:
    config = dataclasses.replace(TINY_TRAINING, shuffle_weight=1.0, shuffle=shuffle, bf16=False)
    every = branded.labels.of("train")
    trainer = Trainer(branded, every, every, config, "cpu")
    ads, query, row = np.array([1, 5, 9, 12]), np.arange(6), np.array([0, 0, 1, 1, 2, 3])
    monkeypatch.setattr(
        TrainingTexts, "bags", lambda self, ads: torch.eye(len(ads), 120)
    )  # none is like another
    words = [
        [token for token in keywords if token] for keywords in trainer.texts.tables.keywords[ads].tolist()
    ]
    seen: list[tuple[int, int]] = []

    def forward(text: TextBatch, visual: torch.Tensor, ad: torch.Tensor) -> torch.Tensor:
        for ids, shown in zip(text.input_ids.tolist(), ad.tolist(), strict=True):
            _, _, told = ",".join(map(str, ids)).partition(f",{SEP},")
            kept = [int(token) for token in told.split(",") if int(token) not in (SEP, 0)]
            seen.append((words.index(kept), shown))
        return torch.zeros(len(ad), 3)

    monkeypatch.setattr(trainer.model, "forward", forward)
    loss = trainer._shuffled_loss(query, row, ads, torch.zeros(4, 1, 16), np.random.default_rng(0))
    assert loss.item() == pytest.approx(math.log(2.0), abs=1e-6)
    assert len(seen) == 6
    for (told, shown), own in zip(seen, row, strict=True):
        assert told != shown
        assert {"frames": told == own, "text": shown == own, "both": own in (told, shown)}[shuffle]


def test_a_step_without_ads_to_shuffle_has_no_loss_of_it(branded: LabelledCorpus) -> None:
    config = dataclasses.replace(TINY_TRAINING, shuffle_weight=1.0)
    every = branded.labels.of("train")
    trainer = Trainer(branded, every, every, config, "cpu")
    nobody = np.zeros(0, dtype=np.int64)
    visual = torch.zeros(4, 1, 16)
    rng = np.random.default_rng(0)
    assert trainer._shuffled_loss(nobody, nobody, np.arange(4), visual, rng).item() == 0.0


def test_shuffling_is_off_by_default_and_changes_the_loss(tmp_path: Path) -> None:
    seen = {}
    for weight in (0.0, 1.0):
        config = dataclasses.replace(TINY_TRAINING, shuffle_weight=weight, bf16=False)
        seen[weight] = _losses(tiny_corpus(), tmp_path / str(weight), config)
    assert TrainConfig().shuffle_weight == 0.0
    assert seen[1.0][:5] == seen[0.0][:5]
    assert seen[1.0][5] > seen[0.0][5] + 0.1
    with pytest.raises(TrainError, match="'ranknet' knows no negative pairs"):
        train(
            tiny_corpus(),
            tmp_path,
            dataclasses.replace(TINY_TRAINING, shuffle_weight=1.0, loss="ranknet"),
        )


def test_half_of_the_words_are_hidden_on_both_sides() -> None:
    half = _draw_halves(400, 0.25, np.random.default_rng(0))
    assert 70 <= np.count_nonzero(half) <= 130  # a quarter of the pairs
    words = np.tile(np.arange(1, 1001), (400, 1))
    hidden = _in_half(words, half)
    assert not hidden[half == 0].any()
    assert hidden[half > 0].mean() == pytest.approx(0.5, abs=0.01)
    same = _in_half(np.array([[7, 9, 7, 9]]), half[half > 0][:1])  # a word's two places
    np.testing.assert_array_equal(same[:, :2], same[:, 2:])

    texts = TextBatch(*(torch.tensor([row]) for row in ([2, 11, SEP, 11, SEP], [1] * 5, [0, 2, 0, 3, 1])))
    trainer = Trainer(
        tiny_corpus(), (labels := tiny_corpus().labels.of("train")), labels, TINY_TRAINING, "cpu"
    )
    every = np.full(1, 2**63 + 1, dtype=np.uint64)  # the odd ids are its half
    assert trainer._hidden_tokens(texts, every).tolist() == [[False, True, False, True, False]]


def test_a_hidden_word_is_not_read_but_its_marker_is() -> None:
    torch.manual_seed(0)
    config = HCMRMConfig(vocab_size=12, hidden_size=8, num_heads=1, intermediate_size=8, text_layers=1)
    encoder = HCMRM(config).eval().text_encoder
    one, other = (
        TextBatch(torch.tensor([[2, word, SEP]]), torch.ones(1, 3), torch.tensor([[0, 2, 0]]))
        for word in (8, 9)
    )
    hidden = torch.tensor([[False, True, False]])
    torch.testing.assert_close(encoder(one, hidden=hidden), encoder(other, hidden=hidden))
    assert not torch.allclose(encoder(one), encoder(other))
    unmarked = one._replace(token_type=torch.zeros(1, 3, dtype=torch.int64))
    assert not torch.allclose(encoder(one, hidden=hidden), encoder(unmarked, hidden=hidden))


def test_word_dropout_is_off_by_default_and_touches_fine_tuning_alone(tmp_path: Path) -> None:
    seen = {}
    for share in (0.0, 1.0):
        config = dataclasses.replace(TINY_TRAINING, word_dropout=share, bf16=False)
        seen[share] = _losses(tiny_corpus(), tmp_path / str(share), config)
    assert (TrainConfig().word_dropout, TrainConfig().rehearsal_hidden) == (0.0, 0.0)
    assert seen[1.0][:5] == seen[0.0][:5]
    assert seen[1.0][5] != seen[0.0][5]
    towers = {**TINY_TRAINING.model, "fusion": "two_tower"}
    with pytest.raises(TrainError, match="two towers read no pair as one text"):
        train(tiny_corpus(), tmp_path, dataclasses.replace(TINY_TRAINING, word_dropout=0.5, model=towers))


def test_criteria_by_hand() -> None:
    metrics = RelevanceMetrics(auc=0.9, auc_3_2=0.6, auc_1_0=0.75, spearman=0.5, ndcg_10=0.8, pnr=3.0)
    assert CRITERIA["mean_auc"](metrics) == pytest.approx(0.75)
    assert CRITERIA["ndcg_10"](metrics) == 0.8
    assert CRITERIA["auc"](metrics) == 0.9


@pytest.mark.parametrize(
    ("field", "value"), [("loss", "hinge"), ("auxiliary", "hints"), ("choose_by", "luck")]
)
def test_unknown_names_are_refused(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(TrainError, match=f"{field} '{value}': there is no such; take"):
        train(tiny_corpus(), tmp_path, dataclasses.replace(TINY_TRAINING, **{field: value}))


def test_a_vocabulary_of_another_size_than_its_own_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY_TRAINING, model={**TINY_TRAINING.model, "vocab_size": 21})
    with pytest.raises(TrainError, match=r"model.vocab_size 21: the vocabulary has \d+ tokens; leave it out"):
        train(tiny_corpus(), tmp_path, config)


def test_the_shipped_checkpoint_is_small_and_says_what_it_was_trained_on() -> None:
    assert (SHIPPED / "model.safetensors").stat().st_size < 5e6
    shipped = Checkpoint.load(SHIPPED)
    assert shipped.model.config.grade_head == "hierarchical"
    (corpus,) = shipped.training["corpora"]
    assert corpus["fold"] is None
    assert len(corpus["worlds"]) > 1
    assert 7 not in corpus["worlds"]  # the default scenario's


def test_a_record_says_what_the_weights_have_seen(tmp_path: Path) -> None:
    """Also in the trainings of the checkpoint that a training starts from."""
    first, second = ({"worlds": [seed], "fold": None, "world": {}} for seed in (1, 2))
    data = tiny_corpus()

    def corpora(name: str, source: dict[str, Any], init: str = "") -> list[dict[str, Any]]:
        config = dataclasses.replace(TINY_TRAINING, init=init, model={} if init else TINY_TRAINING.model)
        trained = train(dataclasses.replace(data, source=source), tmp_path / name, config)
        return trained.training["corpora"]

    assert corpora("first", first) == [first]
    assert corpora("again", first, str(tmp_path / "first")) == [first]
    assert corpora("second", second, str(tmp_path / "first")) == [first, second]
    assert corpora("third", {}, str(tmp_path / "second")) == [first, second, {}]
