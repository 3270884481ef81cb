"""Imported weights compute what the models that they come from compute."""

# ruff: noqa: E402

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, ViTConfig, ViTModel

from relevance.errors import CheckpointError
from relevance.hcmrm import HCMRM, Checkpoint, HCMRMConfig
from relevance.hcmrm.importing import import_albef, import_bert, write_imported
from relevance.hcmrm.model import TextBatch
from relevance.hcmrm.model_config import PRESETS
from relevance.hcmrm.tensors import resize_positions
from relevance.hcmrm.vocabulary import read_tokenizer

ALBEF = Path(__file__).parent / "data" / "albef" / "albef_tiny.safetensors"
TOLERANCE = 1e-4
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "mug", "##s", "sofa")

Expected = dict[str, torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def expected() -> Expected:
    with np.load(ALBEF.with_name("expected.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def model() -> HCMRM:
    return import_albef(ALBEF, text_heads=4, visual_heads=3)


def _texts(expected: Expected, name: str = "input_ids") -> TextBatch:
    return TextBatch(expected[name], expected["attention_mask"], torch.zeros_like(expected[name]))


def _agree(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= TOLERANCE


@torch.inference_mode()
def test_features_and_contrastive_similarities_are_albef_s(model: HCMRM, expected: Expected) -> None:
    images = model.visual_encoder.encode(expected["images"])
    _agree(images, expected["image_embeds"])
    texts = model.text_encoder(_texts(expected))
    real = expected["attention_mask"].bool()
    _agree(texts[real], expected["text_embeds"][real])
    image, text = model.frame_embedding(images[:, 0]), model.text_embedding(texts[:, 0])
    _agree(image, expected["image_feat"])
    _agree(text, expected["text_feat"])
    assert model.temperature is not None
    _agree(image @ text.T / model.temperature, expected["sim_i2t"])


@torch.inference_mode()
def test_fusion_and_matching_are_albef_s(model: HCMRM, expected: Expected) -> None:
    images, texts = model.visual_encoder.encode(expected["images"]), _texts(expected)
    image, text = torch.arange(6).repeat_interleave(6), torch.arange(6).repeat(6)
    every_pair = TextBatch(*(part[text] for part in texts))
    _agree(model.fuse(every_pair, images, image)[:, 0], expected["fusion_cls"].flatten(0, 1))
    _agree(model.match_logits(every_pair, images, image), expected["itm_logits"].flatten(0, 1))
    frames = images[expected["frames_index"]].flatten(1, 2)
    _agree(model.fuse(texts, frames, torch.arange(6))[:, 0], expected["frames_fusion_cls"])
    _agree(model.match_logits(texts, frames, torch.arange(6)), expected["frames_itm_logits"])
    # Before fine-tuning the ranking follows P(match).
    match = expected["itm_logits"].flatten(0, 1)
    _agree(model(every_pair, images, image)[:, 0], match[:, 1] - match[:, 0])


@torch.inference_mode()
def test_masked_words_are_albef_s(model: HCMRM, expected: Expected) -> None:
    images = model.visual_encoder.encode(expected["images"])
    fused = model.fuse(_texts(expected, "mlm_input_ids"), images, torch.arange(6))
    real = expected["attention_mask"].bool()
    _agree(model.word_logits(fused[real]), expected["mlm_logits"][real])


@torch.inference_mode()
def test_another_image_size_is_albef_s(expected: Expected) -> None:
    model = import_albef(ALBEF, text_heads=4, visual_heads=3, image_size=48)
    _agree(model.visual_encoder.position, expected["other_size_pos_embed"])
    _agree(model.visual_encoder.encode(expected["other_size_images"]), expected["other_size_image_embeds"])
    assert model.config.image_size == 48


@torch.inference_mode()
def test_frames_as_bytes_go_the_same_way(model: HCMRM) -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32, 3)).astype(np.uint8))
    mean, deviation = (
        torch.tensor(PRESETS["base"][name])[:, None, None] for name in ("pixel_mean", "pixel_deviation")
    )
    pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2) / 255.0 - mean) / deviation
    encoded = model.visual_encoder.encode(pixels)
    _agree(model.visual_tokens(frames), encoded.unflatten(0, (2, 3)).flatten(1, 2))


def test_the_number_of_heads_matters(expected: Expected) -> None:
    with torch.inference_mode():
        other = import_albef(ALBEF, text_heads=3).visual_encoder.encode(expected["images"])
        _agree(other, expected["image_embeds"])
        text = import_albef(ALBEF, text_heads=3).text_encoder(_texts(expected))[:, 0]
    assert float((text - expected["text_embeds"][:, 0]).abs().max()) > 0.01


def test_weights_that_are_no_fractions_are_refused(tmp_path: Path) -> None:
    tensors = {name: tensor.to(torch.int32) for name, tensor in load_file(ALBEF).items()}
    torch.save(tensors, tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match="holds numbers of the kind int32, which no weights have"):
        import_albef(tmp_path / "whole.pth", text_heads=4, visual_heads=3)


def test_tensors_without_plain_values_are_refused(tmp_path: Path) -> None:
    whole = load_file(ALBEF)
    name = next(name for name, tensor in whole.items() if tensor.dim() == 2)
    for odd in (whole[name].to_sparse(), whole[name].to("meta")):
        torch.save({**whole, name: odd}, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match="is no plain table of numbers"):
            import_albef(tmp_path / "odd.pth", text_heads=4, visual_heads=3)


def test_a_file_that_holds_no_weights_is_told_without_pythons_words(tmp_path: Path) -> None:
    (tmp_path / "notes.pth").write_text("name: tiny\n")
    with pytest.raises(CheckpointError, match="holds no weights that can be read") as caught:
        import_albef(tmp_path / "notes.pth", text_heads=4)
    assert "state_dict" not in str(caught.value)


def test_a_torch_file_with_momentum_copies_gives_the_same_model(model: HCMRM, tmp_path: Path) -> None:
    tensors = load_file(ALBEF)
    copies = {
        name.replace(part, f"{part}_m"): tensor + 1.0
        for name, tensor in tensors.items()
        for part in ("visual_encoder", "text_encoder", "vision_proj", "text_proj")
        if name.startswith(f"{part}.")
    }
    torch.save({"model": {**tensors, **copies}, "epoch": 3}, tmp_path / "albef.pth")
    again = import_albef(tmp_path / "albef.pth", text_heads=4, visual_heads=3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_other_widths_for_vision_and_text_are_read_from_the_shapes(tmp_path: Path) -> None:
    config = HCMRMConfig.preset(
        "base", vocab_size=30, hidden_size=12, num_heads=3, visual_size=8, visual_heads=2,
        visual_intermediate_size=20, intermediate_size=18, visual_layers=2, text_layers=1, fusion_layers=2,
        max_positions=9, image_size=12, patch_size=4, embed_dim=5,
    )  # fmt: skip
    torch.manual_seed(1)
    own = HCMRM(config)
    tensors = _in_albef_s_layout(own)
    save_file(tensors, tmp_path / "other.safetensors")
    read = import_albef(tmp_path / "other.safetensors", text_heads=3, visual_heads=2)
    sizes = own.config.to_dict()
    assert {name: value for name, value in read.config.to_dict().items() if value != sizes[name]} == {}
    for name, value in own.state_dict().items():
        if (
            name.startswith(("visual_encoder.", "text_encoder.", "fusion_layers."))
            and "frame_position" not in name
        ):
            assert torch.equal(value, read.state_dict()[name]), name


def _in_albef_s_layout(model: HCMRM) -> dict[str, torch.Tensor]:
    """A model's tensors under ALBEF's names, written here a second time and the other way round."""
    state, tensors = model.state_dict(), {}
    for name in ("class_token cls_token", "position pos_embed", "norm.weight", "norm.bias",
                 "patch.weight patch_embed.proj.weight", "patch.bias patch_embed.proj.bias"):  # fmt: skip
        own, _, theirs = name.partition(" ")
        tensors[f"visual_encoder.{theirs or own}"] = state[f"visual_encoder.{own}"]
    for i in range(model.config.visual_layers):
        own, theirs = f"visual_encoder.blocks.{i}", f"visual_encoder.blocks.{i}"
        for kind in ("weight", "bias"):
            qkv = [state[f"{own}.attention.{part}.{kind}"] for part in ("query", "key_value")]
            tensors[f"{theirs}.attn.qkv.{kind}"] = torch.cat(qkv)
            for a, b in (("norm1", "norm1"), ("norm2", "norm2"), ("attention.output", "attn.proj"),
                         ("mlp.0", "mlp.fc1"), ("mlp.2", "mlp.fc2")):  # fmt: skip
                tensors[f"{theirs}.{b}.{kind}"] = state[f"{own}.{a}.{kind}"]
    bert = "text_encoder.bert"
    for a in ("word", "position", "token_type"):
        tensors[f"{bert}.embeddings.{a}_embeddings.weight"] = state[f"text_encoder.{a}.weight"]
    layers = [f"text_encoder.layers.{i}" for i in range(model.config.text_layers)]
    layers += [f"fusion_layers.{i}" for i in range(model.config.fusion_layers)]
    for kind in ("weight", "bias"):
        tensors[f"{bert}.embeddings.LayerNorm.{kind}"] = state[f"text_encoder.norm.{kind}"]
        for i, own in enumerate(layers):
            theirs = f"{bert}.encoder.layer.{i}"
            for a, b in (("attention", "attention"), ("cross", "crossattention")):
                if a == "cross" and own.startswith("text"):
                    continue
                key, value = state[f"{own}.{a}.key_value.{kind}"].chunk(2)
                tensors[f"{theirs}.{b}.self.query.{kind}"] = state[f"{own}.{a}.query.{kind}"]
                tensors[f"{theirs}.{b}.self.key.{kind}"] = key.clone()
                tensors[f"{theirs}.{b}.self.value.{kind}"] = value.clone()
                tensors[f"{theirs}.{b}.output.dense.{kind}"] = state[f"{own}.{a}.output.{kind}"]
                tensors[f"{theirs}.{b}.output.LayerNorm.{kind}"] = state[f"{own}.{a}_norm.{kind}"]
            tensors[f"{theirs}.intermediate.dense.{kind}"] = state[f"{own}.mlp.0.{kind}"]
            tensors[f"{theirs}.output.dense.{kind}"] = state[f"{own}.mlp.2.{kind}"]
            tensors[f"{theirs}.output.LayerNorm.{kind}"] = state[f"{own}.mlp_norm.{kind}"]
        tensors[f"vision_proj.{kind}"] = state[f"frame_projection.{kind}"]
        tensors[f"text_proj.{kind}"] = state[f"text_projection.{kind}"]
        tensors[f"itm_head.{kind}"] = state[f"match_head.{kind}"]
    return tensors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visual_encoder.norm.bias": None}, "lacks the tensor 'visual_encoder.norm.bias'"),
        ({"visual_encoder.blocks.1.norm1.bias": None}, "'visual_encoder.blocks.1.norm1.bias'"),
        ({"text_encoder.bert.encoder.layer.1.output.dense.bias": None}, "layer.1.output.dense.bias'"),
        ({"vision_proj.weight": torch.zeros(32, 47)}, "has the shape [32, 47], needs [any, 48]"),
        ({"itm_head.weight": torch.zeros(3, 48)}, "'itm_head.weight' has the shape [3, 48], needs [2, 48]"),
        ({"visual_encoder.cls_token": torch.full((1, 1, 48), torch.nan)}, "holds values that are not finite"),
        ({"visual_encoder.pos_embed": torch.zeros(1, 18, 48)}, "needs one more than a square number"),
        ({"visual_encoder.blocks.0.extra": torch.zeros(2)}, "'visual_encoder.blocks.0.extra' has no place"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    tensors = {**load_file(ALBEF), **change}
    path = tmp_path / "changed.safetensors"
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        import_albef(path, text_heads=4, visual_heads=3)
    assert str(caught.value).startswith(str(path))


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(CheckpointError, match="5 text heads do not divide the width 48"):
        import_albef(ALBEF, text_heads=5)
    with pytest.raises(CheckpointError, match="image size 30: must be a multiple of the patch size 8"):
        import_albef(ALBEF, text_heads=4, image_size=30)


@dataclass
class Evil:
    """Unpickled, it leaves a file."""

    trace: Path

    def __reduce__(self) -> tuple[object, ...]:
        return (self.trace.touch, ())


def test_files_that_run_code_or_are_damaged_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(2), "b": Evil(tmp_path / "code-was-run")}}, tmp_path / "evil.pth")
    (tmp_path / "broken.safetensors").write_bytes(ALBEF.read_bytes()[:1000])
    (tmp_path / "text.pth").write_text("no tensors")
    for name in ("evil.pth", "broken.safetensors", "text.pth", "nowhere.pth"):
        with pytest.raises(CheckpointError, match=name):
            import_albef(tmp_path / name, text_heads=4)
    assert not (tmp_path / "code-was-run").exists()


def test_positions_of_the_same_grid_stay_and_a_constant_stays_constant() -> None:
    position = torch.randn(1, 17, 6)
    assert torch.equal(resize_positions(position, 4), position)
    flat = torch.ones(1, 17, 6)
    assert resize_positions(flat, 7).numpy() == pytest.approx(np.ones((1, 50, 6)), abs=1e-6)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny ViT and a tiny BERT as transformers writes them."""
    root = tmp_path_factory.mktemp("public")
    torch.manual_seed(3)
    vit = ViTModel(
        ViTConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40,
                  image_size=16, patch_size=4, initializer_range=0.2)
    )  # fmt: skip
    bert = BertModel(
        BertConfig(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=28,
                   vocab_size=len(WORDS), max_position_embeddings=20, initializer_range=0.2)
    )  # fmt: skip
    vit.save_pretrained(root / "vit")
    bert.save_pretrained(root / "bert")
    (root / "bert" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return root / "vit", root / "bert"


@torch.inference_mode()
def test_a_vit_and_a_bert_of_transformers_compute_the_same_here(folders: tuple[Path, Path]) -> None:
    vit, bert = folders
    model = import_bert(bert, vit, text_layers=3)
    pixels = torch.randn(2, 3, 16, 16)
    _agree(model.visual_encoder.encode(pixels), ViTModel.from_pretrained(vit)(pixels).last_hidden_state)
    ids = torch.tensor([[2, 5, 6, 3, 7, 3], [2, 8, 3, 3, 0, 0]])
    mask, kind = (ids != 0).long(), torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0]])
    theirs = BertModel.from_pretrained(bert)(ids, mask, kind, output_hidden_states=True).hidden_states
    ours = model.text_encoder(TextBatch(ids, mask, kind))
    _agree(ours[mask.bool()], theirs[3][mask.bool()])
    # A fusion layer whose cross-attention adds nothing differs from BERT's by one layer norm: take it out.
    [layer] = model.fusion_layers
    layer.cross.output.weight.zero_()
    layer.cross.output.bias.zero_()
    layer.cross_norm = torch.nn.Identity()
    fused = model.fuse(TextBatch(ids, mask, kind), torch.zeros(1, 1, 24), torch.tensor([0, 0]))
    _agree(fused[mask.bool()], theirs[4][mask.bool()])


def test_an_import_is_written_and_read_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    vit, bert = folders
    model, tokenizer = import_bert(bert, vit), read_tokenizer(bert)
    assert model.config.text_layers == model.config.fusion_layers == 2
    write_imported(model, tokenizer, {"vit": str(vit)}, tmp_path)
    read = Checkpoint.load(tmp_path)
    assert read.training == {"imported": {"vit": str(vit)}}
    assert read.tokenizer("Red MUGS").input_ids == [5, 6, 7]
    assert read.keywords("red mugs on a sofa") == ("red", "mugs", "on", "a", "sofa")
    for other in (read.model, HCMRM.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)):
        assert isinstance(other, HCMRM)
        for name, value in model.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    assert isinstance(AutoConfig.from_pretrained(tmp_path), HCMRMConfig)


def test_foreign_folders_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    vit, bert = folders
    with pytest.raises(CheckpointError, match=r"config.json: 'model_type' is 'bert'; only 'vit'"):
        import_bert(bert, bert)
    with pytest.raises(CheckpointError, match=r"config.json: not found"):
        import_bert(bert, tmp_path)
    with pytest.raises(CheckpointError, match=r"neither tokenizer.json nor vocab.txt"):
        read_tokenizer(vit)
    config = json.loads((vit / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    with pytest.raises(CheckpointError, match="'hidden_act' is 'relu'; only 'gelu' can be imported"):
        import_bert(bert, tmp_path)
    odd = shutil.copytree(vit, tmp_path / "odd")
    (odd / "config.json").write_text(json.dumps({**config, "num_attention_heads": True}))
    with pytest.raises(
        CheckpointError, match=r"odd/config.json: needs 'num_attention_heads', a number above 0"
    ):
        import_bert(bert, odd)
    (odd / "config.json").write_text(json.dumps({**config, "num_attention_heads": 7}))
    with pytest.raises(CheckpointError, match=r"odd/config.json, num_attention_heads: 7 heads do not divide"):
        import_bert(bert, odd)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor pytorch_model.bin"):
        import_bert(bert, tmp_path)
    (tmp_path / "vocab.txt").write_text("red\nmug\n")
    with pytest.raises(CheckpointError, match=r"lacks the special tokens \[PAD\]"):
        read_tokenizer(tmp_path)


def test_presets_have_the_published_sizes() -> None:
    base = HCMRMConfig.preset("base")
    assert (base.hidden_size, base.visual_layers, base.text_layers, base.fusion_layers) == (768, 12, 6, 6)
    assert (base.image_size, base.patch_size, base.embed_dim, base.num_heads) == (224, 16, 256, 12)
    assert (
        HCMRMConfig.preset("tiny").to_dict() == HCMRMConfig(frame_markers=True, word_markers=True).to_dict()
    )
    with torch.device("meta"):
        counted = {
            name: sum(p.numel() for p in HCMRM(HCMRMConfig.preset(name)).parameters()) for name in PRESETS
        }
    assert counted["tiny"] < 3e6 < 8e6 < counted["small"] < 12e6
    # ALBEF's online encoders have 209.5 million; here a softmax over the vocabulary comes on top.
    assert 209e6 < counted["base"] - 768 * 30522 - 30522 < 211e6
