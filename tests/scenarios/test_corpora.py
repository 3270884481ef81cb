"""Corpora of one's own: tables, pictures, videos, ESCI and WANDS, and the way back."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from relevance.corpus import SPLITS, CorpusError, LabelledCorpus
from relevance.hcmrm import Checkpoint, HcmrmScorer
from relevance.hcmrm.training.train import train
from relevance.metrics import evaluate
from scenarios.corpora.chorus import read_chorus
from scenarios.corpora.key_frames import picture_frames, scene_middles, video_frames
from scenarios.corpora.labelled import hash_share, read_tables, write_tables
from scenarios.corpora.own import export_corpus_tables, import_corpus, schema_of
from scenarios.corpora.public import read_esci, read_wands
from scenarios.errors import StoreError, UserError
from simulator.world import LabelledWorlds, WorldConfig, labelled_corpus
from simulator.world.labels import ALL_SPLITS
from tests.relevance.tiny import TINY_TRAINING
from tests.scenarios import miniature


@pytest.fixture(scope="module")
def world():
    config = WorldConfig(
        train_advertisers=18,
        validation_advertisers=18,
        test_advertisers=18,
        ads_per_advertiser=2,
        query_pool=800,
    )
    return labelled_corpus(LabelledWorlds((7,), 0, config, ALL_SPLITS))


@pytest.mark.parametrize("jsonl", [False, True])
def test_the_embedded_world_as_tables_and_back_is_the_same_corpus(world, tmp_path, jsonl):
    export_corpus_tables(world, tmp_path / "tables", jsonl=jsonl)
    import_corpus(tmp_path / "tables", tmp_path / "corpus")
    again = LabelledCorpus.load(tmp_path / "corpus")
    assert again.corpus.fingerprint() == world.corpus.fingerprint()
    for name in ("query", "ad", "grade", "split"):
        np.testing.assert_array_equal(getattr(again.labels, name), getattr(world.labels, name))
    assert again.corpus.ad_ids() == world.corpus.ad_ids()


def test_a_training_on_the_exported_world_is_the_same_training(tmp_path):
    config = WorldConfig(
        train_advertisers=36,
        validation_advertisers=36,
        test_advertisers=36,
        unlabelled_advertisers=12,
        ads_per_advertiser=4,
        query_pool=2000,
    )
    world = labelled_corpus(LabelledWorlds((7,), 0, config, ALL_SPLITS))
    export_corpus_tables(world, tmp_path / "tables")
    import_corpus(tmp_path / "tables", tmp_path / "corpus")
    exported = LabelledCorpus.load(tmp_path / "corpus")
    # As the shipped checkpoint: pseudo-queries, ads without labels, soft markers, rehearsal.
    recipe = replace(TINY_TRAINING, pqvm_weight=1.0, pqvm_ads=8, rehearsal_ads=4)
    metrics = []
    for data, out in ((world, tmp_path / "own"), (exported, tmp_path / "from-tables")):
        train(data, out, recipe)
        model, test = HcmrmScorer(Checkpoint.load(out), data.corpus), data.labels.of("test")
        metrics.append(evaluate(test.query, test.grade, model.score(test.query, test.ad)))
    assert (tmp_path / "own" / "model.safetensors").read_bytes() == (
        tmp_path / "from-tables" / "model.safetensors"
    ).read_bytes()
    assert metrics[0] == metrics[1]


ADS = [
    {"id": "a1", "title": "Red mug", "ocr": "sale", "asr": "look", "frames": ["one.png", "two.png"]},
    {"id": "a2", "title": "Sofa", "ocr": None, "frames": []},
    {"id": 3, "title": "Tent"},
]
QUERIES = [{"id": "q1", "text": "  Red   MUG "}, {"id": "q2", "text": "tent"}]
LABELS = [
    {"query_id": "q1", "ad_id": "a1", "grade": 3, "split": "train"},
    {"query_id": "q2", "ad_id": "3", "grade": 2, "split": "test"},
    {"query_id": "q2", "ad_id": "a1", "grade": 0},
]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, rows in (("ads", ADS), ("queries", QUERIES), ("labels", LABELS)):
        write_jsonl(folder / f"{name}.jsonl", rows)
    for name, colour in (("one", (200, 10, 10)), ("two", (10, 200, 10))):
        Image.new("RGB", (30, 60), colour).save(folder / f"{name}.png")
    return folder


def test_tables_become_a_corpus(tables):
    data = read_tables(tables, size=16)
    corpus, labels = data.corpus, data.labels
    assert corpus.query_text == ("red mug", "tent")
    assert (corpus.query_id, corpus.ad_id) == (("q1", "q2"), ("a1", "a2", "3"))
    assert corpus.ad_text(0) == "Red mug sale look"
    assert corpus.ad_ocr == ("sale", "", "")
    assert corpus.frames.shape == (3, 3, 16, 16, 3)
    # Two pictures in turn; ads without any have black frames.
    assert [tuple(pixel) for pixel in corpus.frames[0, :, 0, 0]] == [
        (200, 10, 10), (10, 200, 10), (200, 10, 10),
    ]  # fmt: skip
    assert not corpus.frames[1:].any()
    assert labels.grade.tolist() == [3, 2, 0]
    assert labels.ad.tolist() == [0, 2, 0]
    assert [SPLITS[code] for code in labels.split[:2]] == ["train", "test"]


def test_csv_and_parquet_say_the_same(tables, tmp_path):
    expected = read_tables(tables, size=16)
    parquet, text = tmp_path / "parquet", tmp_path / "csv"
    for folder in (parquet, text):
        folder.mkdir()
        for name in ("one.png", "two.png"):
            (folder / name).write_bytes((tables / name).read_bytes())
    own = [{**row, "id": str(row["id"]), "frames": row.get("frames") or []} for row in ADS]
    for name, rows in (("ads", own), ("queries", QUERIES), ("labels", LABELS)):
        table = pl.DataFrame(rows, infer_schema_length=None)
        table.write_parquet(parquet / f"{name}.parquet")
        if name == "ads":
            table = table.with_columns(pl.col("frames").list.join("; "))
        table.write_csv(text / f"{name}.csv")
    for folder in (parquet, text):
        data = read_tables(folder, size=16)
        assert data.corpus.fingerprint() == expected.corpus.fingerprint()
        np.testing.assert_array_equal(data.labels.split, expected.labels.split)


@pytest.mark.parametrize(
    ("name", "row", "change", "message"),
    [
        ("ads", 1, {"id": "a1"}, "ads.jsonl, row 2, column 'id': 'a1' is in row 1 already"),
        ("ads", 2, {"id": None}, "ads.jsonl, row 3, column 'id': is empty"),
        ("ads", 0, {"title": ["Red"]}, "ads.jsonl, row 1, column 'title': must be a text, is [\"Red\"]"),
        ("ads", 0, {"frames": ["none.png"]}, "ads.jsonl, row 1, column 'frames': "),
        ("ads", 0, {"frames": ["ads.jsonl"]}, "no readable picture"),
        ("ads", 0, {"frames": 7}, "must be a list of file names, is 7"),
        ("ads", 1, {"video": "none.mp4"}, "ads.jsonl, row 2, column 'video': "),
        ("queries", 1, {"text": ""}, "queries.jsonl, row 2, column 'text': is empty"),
        ("labels", 2, {"ad_id": "a9"}, "labels.jsonl, row 3, column 'ad_id': no ad has the id 'a9'"),
        ("labels", 0, {"query_id": "Q1"}, "labels.jsonl, row 1, column 'query_id': no query has the id 'Q1'"),
        ("labels", 0, {"grade": 4}, "labels.jsonl, row 1, column 'grade': must be 0, 1, 2 or 3, is 4"),
        ("labels", 1, {"grade": None}, "labels.jsonl, row 2, column 'grade'"),
        ("labels", 1, {"split": "tests"}, "is 'tests'; did you mean 'test'?"),
        ("labels", 2, {"ad_id": None}, "labels.jsonl, row 3, column 'ad_id': is empty"),
        ("labels", 2, {"ad_id": True}, "labels.jsonl, row 3, column 'ad_id': must be a text, is true"),
        ("queries", 1, {"text": "  "}, "queries.jsonl, row 2, column 'text': is empty"),
        ("ads", 0, {"price": 10**350}, "ads.jsonl, row 1, column 'price': must be a number from 0 to 1e+09"),
        ("ads", 0, {"frames": ["a\0b"]}, "column 'frames': holds a NUL"),
        ("labels", 0, {"grade": -1}, "row 1, column 'grade': must be 0, 1, 2 or 3, is -1"),
        ("labels", 0, {"grade": 2.5}, "row 1, column 'grade': must be 0, 1, 2 or 3, is 2.5"),
        ("labels", 2, {"ad_id": "3"}, "column 'ad_id': the same pair is graded in row 2 already"),
    ],
)
def test_what_is_wrong_is_named_by_file_row_and_column(tables, name, row, change, message):
    rows = {"ads": ADS, "queries": QUERIES, "labels": LABELS}[name]
    write_jsonl(
        tables / f"{name}.jsonl", [{**old, **change} if i == row else old for i, old in enumerate(rows)]
    )
    with pytest.raises(CorpusError) as caught:
        read_tables(tables, size=16)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ('id,title\na,5" shoe\n\nb,"Red, ""new""\nhat"\n\n', ['5" shoe', 'Red, "new"\nhat']),
        ("id,title\r\na,x\r\nb,y\r\n", ["x", "y"]),
        ("\ufeffid,title\ra,x\rb,y", ["x", "y"]),
        ("id,title,,\na,x,,\nb," + "y" * 200_000, ["x", "y" * 200_000]),
    ],
)
def test_texts_with_separators_as_programs_write_them(tables, text, titles):
    (tables / "ads.jsonl").unlink()
    (tables / "labels.jsonl").write_text("")  # as of a corpus without labels
    (tables / "ads.csv").write_text(text, newline="")
    assert read_tables(tables).corpus.ad_title == tuple(titles)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ads.csv: is empty; its first line names the columns"),
        (b"id,title\n\n", "ads.csv: has no rows"),
        (b'id,title\na,x\nb,"y\nc,z\n', "ads.csv, line 3: a quote opens a cell here and is never closed"),
        (
            b"id,title\na,x\n\nb,y,z\n",
            "ads.csv, line 4: has 3 cells, but there are 2 columns; put a cell that",
        ),
        (
            b"id;title\na;x\n",
            "has no column 'id'; its first line is 'id;title': put commas between the cells",
        ),
        (
            b"id;title;price\na;x;59,90\n",
            "ads.csv, line 2: has 2 cells, but there are 1 columns; the first line must name all columns, "
            "with ',' between them; it is 'id;title;price'",
        ),
        (b"sep=;\nid;title\n", "its first line, 'sep=;', names no column; remove that line, and put commas"),
        (b'{"id": "a", "title": "x"}\n', "ads.csv: holds JSON; write one object a line, and name it .jsonl"),
        (b"<html></html>\n", "ads.csv: has no column 'id'; it has '<html></html>'"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "ads.csv: is an old spreadsheet or document of Office"),
        (
            b"id,ocr,Title\na,x,y\n",
            "ads.csv: has a column 'Title', which means nothing here; did you mean 'title'?",
        ),
        (b"id,titel,ocr\na,x,y\n", "did you mean 'title'? Then rename it, or else remove it"),
        (b"x,x\na,x\n", "ads.csv: has no column 'id'; it has 'x'"),
        (b"ID,title\na,x\n", "ads.csv: has no column 'id'; did you mean 'ID'?"),
        ("id,title\na,x\n".encode("utf-16"), "ads.csv: is in UTF-16; save it with UTF-8 encoding"),
        (b"PAR1\x15\x04", "ads.csv: is a Parquet file, not a text"),
        (b"\x1f\x8b\x08", "ads.csv: is compressed (gzip); unpack it"),
    ],
)
def test_texts_with_separators_that_are_damaged_name_the_line(tables, content, message):
    (tables / "ads.jsonl").unlink()
    (tables / "ads.csv").write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        read_tables(tables)
    assert message in str(caught.value)


def test_a_table_that_is_there_but_no_file_is_not_taken_for_missing(tables):
    (tables / "labels.csv").write_text("query_id,ad_id,grade\n")
    with pytest.raises(CorpusError, match=r"has labels.jsonl and labels.csv; keep the one that counts"):
        read_tables(tables)
    (tables / "labels.jsonl").unlink()
    for made, message in (
        (lambda path: path.symlink_to("nowhere"), "labels.csv: not found"),
        (lambda path: path.mkdir(), "labels.csv: is a folder, not a file"),
    ):
        (tables / "labels.csv").unlink()
        made(tables / "labels.csv")
        with pytest.raises(CorpusError, match=message):
            read_tables(tables)


def test_files_that_are_missing_or_no_tables_are_named(tables, tmp_path):
    (tables / "labels.jsonl").write_text('{"query_id": "q1"\n')
    with pytest.raises(CorpusError, match=r"labels.jsonl, row 1: not a JSON object"):
        read_tables(tables)
    (tables / "labels.jsonl").write_text('{"query_id": "q1", "ad_id": "a1", "grade": 1, "grade": 3}\n')
    with pytest.raises(CorpusError, match=r"labels.jsonl, row 1: .*has the key 'grade' twice; remove one"):
        read_tables(tables)
    write_jsonl(tables / "labels.jsonl", [{"query_id": "q1", "ad": "a1", "grade": 1}])
    with pytest.raises(CorpusError, match=r"labels.jsonl: has no column 'ad_id'"):
        read_tables(tables)
    write_jsonl(tables / "queries.jsonl", [{**query, "weight": 0} for query in QUERIES])
    write_jsonl(tables / "labels.jsonl", LABELS)
    with pytest.raises(CorpusError, match=r"queries.jsonl: column 'weight': needs one above 0"):
        read_tables(tables, size=16)
    (tables / "queries.jsonl").unlink()
    (tables / "queries.csv").write_text("id,id,text\nq1,q2,red\n")
    with pytest.raises(CorpusError, match=r"queries.csv: has the column 'id' twice"):
        read_tables(tables)
    (tables / "queries.csv").rename(tables / "queries.jsonl")
    (tables / "queries.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"has no table of queries; it needs one of queries.parquet"):
        read_tables(tables)
    (tables / "ads.jsonl").rename(tables / "ads.parquet")
    with pytest.raises(CorpusError, match=r"ads.parquet: cannot be read"):
        read_tables(tables)
    with pytest.raises(CorpusError, match="has neither tables"):
        schema_of(tmp_path)


def test_binary_data_is_no_number_and_frames_that_fill_the_disk_are_refused(tables, monkeypatch):
    ads = pl.read_ndjson(tables / "ads.jsonl").with_columns(price=pl.lit(b"10"))
    (tables / "ads.jsonl").unlink()
    ads.write_parquet(tables / "ads.parquet")
    with pytest.raises(CorpusError, match=r"'price': must be a number from 0 to 1e.09, is binary data"):
        read_tables(tables, size=16)
    with pytest.raises(CorpusError, match=r"frames of 4096 x 4096 pixels need [\d,.]+ GiB, and .* --size"):
        import_corpus(tables, tables.parent / "large", n_frames=100_000, size=4096)
    assert not (tables.parent / "large").exists()


@pytest.mark.parametrize(
    ("option", "field"),
    [({"locale": "es"}, "--locale"), ({"small": False}, "--no-small")],
)
def test_an_option_of_another_kind_of_files_is_refused(tables, tmp_path, option, field):
    with pytest.raises(UserError, match=f"{field}: has no effect on files of the kind own; leave it out"):
        import_corpus(tables, tmp_path / "corpus", **option)
    assert not (tmp_path / "corpus").exists()


def test_labels_of_another_number_are_counted(tables, tmp_path):
    folder = tmp_path / "corpus"
    import_corpus(tables, folder)
    labels = dict(np.load(folder / "labels.npz"))
    n = labels["grade"].size
    np.savez(folder / "labels.npz", **{**labels, "grade": labels["grade"][:1]})
    with pytest.raises(
        CorpusError, match=rf"'grade' must have a number for each of {n} pairs, .*; it has 1;"
    ):
        LabelledCorpus.load(folder)


def test_products_of_chorus_are_named_by_their_archive(tmp_path):
    clone = miniature.write_clone(tmp_path / "clone")
    with zipfile.ZipFile(clone / "data-encoder/ecommerce/vectors/data/0.json.zip", "w") as archive:
        archive.writestr("0.json", json.dumps([{**miniature.PRODUCTS[0], "price": "10 EUR"}]))
    with pytest.raises(
        CorpusError, match=r"0.json.zip, product 1 of 0.json, 'price': must be a number .*10 EUR"
    ):
        read_chorus(clone)


def test_nothing_is_left_of_an_import_that_failed_and_nothing_is_overwritten(tables, tmp_path):
    write_jsonl(tables / "labels.jsonl", [{**LABELS[0], "grade": 5}])
    with pytest.raises(CorpusError):
        import_corpus(tables, tmp_path / "out" / "corpus")
    assert not (tmp_path / "out").exists()
    with pytest.raises(StoreError, match="is there already"):
        import_corpus(tables, tables)
    write_jsonl(tables / "labels.jsonl", LABELS)
    import_corpus(tables, tmp_path / "corpus")
    with pytest.raises(CorpusError, match="corpus: is a corpus folder already; name it where"):
        import_corpus(tmp_path / "corpus", tmp_path / "again")


def test_a_query_s_split_depends_on_its_text_alone(tables):
    write_jsonl(tables / "labels.jsonl", [{k: v for k, v in row.items() if k != "split"} for row in LABELS])
    first = read_tables(tables).labels
    write_jsonl(tables / "queries.jsonl", QUERIES[::-1])
    second = read_tables(tables).labels
    assert first.split.tolist() == second.split.tolist()
    shares = np.array([hash_share(f"query {i}") for i in range(2000)])
    assert np.histogram(shares, 10, (0, 1))[0] == pytest.approx(200, abs=60)


def test_texts_alone_make_a_corpus_without_frames(tables):
    write_jsonl(tables / "ads.jsonl", [{"id": row["id"], "title": row["title"]} for row in ADS])
    data = read_tables(tables)
    assert data.corpus.frames.shape == (3, 0, 48, 48, 3)
    folder = tables.parent / "corpus"
    data.save(folder)
    assert LabelledCorpus.load(folder).corpus.fingerprint() == data.corpus.fingerprint()
    write_tables(data, tables.parent / "again")
    assert read_tables(tables.parent / "again").corpus.fingerprint() == data.corpus.fingerprint()


def test_ads_without_labels_can_still_be_scored(tables):
    (tables / "labels.jsonl").unlink()
    data = read_tables(tables, size=16)
    assert len(data.labels) == 0
    data.save(tables.parent / "corpus")
    assert LabelledCorpus.load(tables.parent / "corpus").corpus.ad_ids() == ("a1", "a2", "3")


def test_of_many_pictures_some_at_even_distances_are_taken(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(9)]
    for i, path in enumerate(paths):
        Image.new("RGB", (8, 8), (i + 1, 0, 0)).save(path)
    assert picture_frames(paths, 3, 8)[:, 0, 0, 0].tolist() == [2, 5, 8]


def test_scenes_end_where_pictures_change():
    dark, pale, grey = (
        np.full((n, 4, 4), value, dtype=np.uint8) for n, value in ((10, 0), (4, 250), (6, 120))
    )
    thumbnails = np.concatenate((dark, pale, grey))
    assert scene_middles(thumbnails, 3) == [5, 12, 17]
    assert scene_middles(thumbnails, 1) == [10]
    assert scene_middles(thumbnails, 4) == [2, 7, 12, 17]  # the longest scene in halves
    assert scene_middles(np.zeros((1, 4, 4), dtype=np.uint8), 3) == [0, 0, 0]
    # Noise is no cut.
    noise = np.random.default_rng(0).integers(100, 104, (12, 4, 4)).astype(np.uint8)
    assert scene_middles(noise, 3) == [1, 4, 9]


def test_key_frames_of_a_video(tmp_path, tables):
    av = pytest.importorskip("av")
    colours = [(220, 20, 20)] * 20 + [(20, 220, 20)] * 4 + [(20, 20, 220)] * 6
    path = tables / "ad.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for colour in colours:
            picture = np.full((32, 64, 3), colour, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    by_scene = video_frames(path, 3, 16)
    assert by_scene.shape == (3, 16, 16, 3)
    # Each scene's own colour is the strongest, though one scene is far longer than the others.
    assert by_scene.mean(axis=(1, 2)).argmax(axis=1).tolist() == [0, 1, 2]
    evenly = video_frames(path, 3, 16, "evenly")
    assert evenly.mean(axis=(1, 2)).argmax(axis=1).tolist() == [0, 0, 2]

    write_jsonl(tables / "ads.jsonl", [{**ADS[0], "frames": None, "video": "ad.mp4"}, *ADS[1:]])
    np.testing.assert_array_equal(read_tables(tables, size=16).corpus.frames[0], by_scene)
    path.write_bytes(b"no video")
    with pytest.raises(CorpusError, match=r"ads.jsonl, row 1, column 'video': .*no readable video"):
        read_tables(tables)


@pytest.fixture
def esci(tmp_path):
    """The columns of the published files, few rows."""
    examples = [
        (0, "Red Mug", 10, "B1", "us", "E", 1, 1, "train"),
        (1, "Red Mug", 10, "B2", "us", "S", 1, 1, "train"),
        (2, "taza roja", 11, "B1", "es", "E", 1, 1, "train"),
        (3, "tent", 12, "B2", "us", "I", 1, 1, "test"),
        (4, "tent", 12, "B3", "us", "C", 1, 1, "test"),
        (5, "sofa", 13, "B3", "us", "I", 0, 1, "test"),
    ]
    columns = [
        "example_id", "query", "query_id", "product_id", "product_locale", "esci_label", "small_version",
        "large_version", "split",
    ]  # fmt: skip
    pl.DataFrame(examples, schema=columns, orient="row").write_parquet(
        tmp_path / "shopping_queries_dataset_examples.parquet"
    )
    products = [
        ("B1", "Mug red", "holds tea", "big\nround", "Acme", "red", "us"),
        ("B1", "Taza", None, None, None, None, "es"),
        ("B2", "Mug blue", None, None, "Acme", None, "us"),
        ("B3", "Tent pegs", None, "steel", None, None, "us"),
        ("B4", "Never asked for", None, None, None, None, "us"),
    ]
    names = ["title", "description", "bullet_point", "brand", "color", "locale"]
    pl.DataFrame(
        products, schema=["product_id", *(f"product_{name}" for name in names)], orient="row"
    ).write_parquet(tmp_path / "shopping_queries_dataset_products.parquet")
    return tmp_path


def test_esci(esci):
    assert schema_of(esci) == "esci"
    data = read_esci(esci)
    assert data.corpus.query_text == ("red mug", "tent")
    assert data.corpus.query_id == ("10", "12")
    assert data.corpus.ad_id == ("B1", "B2", "B3")
    assert data.corpus.ad_text(0) == "Mug red Acme red big\nround holds tea"
    assert data.labels.grade.tolist() == [3, 2, 0, 1]
    assert data.labels.ad.tolist() == [0, 1, 1, 2]
    splits = [SPLITS[code] for code in data.labels.split]
    assert splits[2:] == ["test", "test"]
    assert splits[0] == splits[1]
    assert splits[0] == ("validation" if hash_share("red mug") < 0.1 else "train")
    assert data.corpus.frames.shape[:2] == (3, 0)
    assert read_esci(esci, small=False).corpus.query_text == ("red mug", "tent", "sofa")
    assert read_esci(esci, locale="es").corpus.ad_title == ("Taza",)


def test_lists_in_a_column_of_esci_are_named(esci):
    path = esci / "shopping_queries_dataset_examples.parquet"
    pl.read_parquet(path).with_columns(pl.concat_list("small_version")).write_parquet(path)
    with pytest.raises(CorpusError, match="column 'small_version': must be a text or a number, is a list"):
        read_esci(esci)


def test_what_esci_does_not_have_is_named(esci):
    path = esci / "shopping_queries_dataset_examples.parquet"
    with pytest.raises(CorpusError, match="no rows of the locale 'jp'; it has es, us"):
        read_esci(esci, locale="jp")
    table = pl.read_parquet(path)
    table.with_columns(esci_label=pl.lit("X")).write_parquet(path)
    with pytest.raises(
        CorpusError, match=r"examples.parquet, row 1, column 'esci_label': must be one of E, S"
    ):
        read_esci(esci)
    table.head(0).write_parquet(path)
    with pytest.raises(CorpusError, match=r"examples.parquet: has no rows$"):
        read_esci(esci)
    table.drop("query").write_parquet(path)
    with pytest.raises(CorpusError, match=r"examples.parquet: has no column 'query'"):
        read_esci(esci)
    table.write_parquet(path)
    products = esci / "shopping_queries_dataset_products.parquet"
    pl.read_parquet(products).filter(pl.col("product_id") != "B2").write_parquet(products)
    # The row in the file, not among those of the locale.
    with pytest.raises(
        CorpusError, match=r"examples.parquet, row 2, column 'product_id': no ad has the id 'B2'"
    ):
        read_esci(esci)


def test_wands(tmp_path):
    (tmp_path / "query.csv").write_text(
        "query_id\tquery\tquery_class\n0\tSalon Chair\tChairs\n1\tarea rug\tRugs\n"
    )
    (tmp_path / "product.csv").write_text(
        "product_id\tproduct_name\tproduct_class\tproduct_description\tproduct_features\n"
        "7\tsalon chair\tChairs\ta chair, \"fine\"\tcolor:black\n8\tround rug\tRugs\t\t\n"
    )  # fmt: skip
    labels = "id\tquery_id\tproduct_id\tlabel\n0\t0\t7\tExact\n1\t1\t8\tPartial\n2\t1\t7\tIrrelevant\n"
    (tmp_path / "label.csv").write_text(labels)
    assert schema_of(tmp_path) == "wands"
    data = read_wands(tmp_path)
    assert data.corpus.query_text == ("salon chair", "area rug")
    assert data.corpus.ad_text(0) == 'salon chair Chairs a chair, "fine" color:black'
    assert data.corpus.ad_text(1) == "round rug Rugs"
    assert data.labels.grade.tolist() == [3, 2, 0]
    (tmp_path / "label.csv").write_text(labels.replace("Partial", "partial"))
    with pytest.raises(CorpusError, match=r"label.csv, row 2, column 'label': must be one of Exact, Partial"):
        read_wands(tmp_path)
