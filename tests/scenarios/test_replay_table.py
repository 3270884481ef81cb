"""Tables of auctions of one's own: what they may hold, and what a user is told of anything else."""

import json
import math
import re
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from scenarios.cli.main import main
from scenarios.errors import TableError
from scenarios.markets.table.auctions import relevance_by, table_market, to_arrays
from scenarios.markets.table.columns import COLUMNS, json_schema
from scenarios.markets.table.reading import read_auctions, read_budgets, scorers_of
from scenarios.replay.example import write_example
from simulator.fusion import Product

ROWS = [
    {"query_id": 1, "ad_id": "a", "advertiser_id": 7, "bid": 1.0, "pctr": 0.1, "relevance_x": 0.5},
    {"query_id": 1, "ad_id": "b", "advertiser_id": 8, "bid": 2.0, "pctr": 0.2, "relevance_x": 1.0},
    {"query_id": 2, "ad_id": "a", "advertiser_id": 7, "bid": 3.0, "pctr": 0.1, "relevance_x": 0.0},
]
LOGGED = [
    {**row, "time_s": time, "position": position, "clicked": clicked, "price": price, "grade": grade}
    for row, time, position, clicked, price, grade in zip(
        ROWS, (5.0, 5.0, 1.0), (None, 1, 1), (None, True, False), (None, 0.5, 0.1), (0, 3, None), strict=True
    )
]


def write(folder: Path, rows: list[dict], kind: str = "parquet", name: str = "t") -> Path:
    path = folder / f"{name}.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


def changed(row: int, rows: list[dict] = LOGGED, **values) -> list[dict]:
    return [{**old, **values} if number == row else old for number, old in enumerate(rows, start=1)]


def refusal(path: Path, read=read_auctions) -> str:
    with pytest.raises(TableError) as caught:
        read(path)
    return str(caught.value).replace(f"{path.parent}/", "")


# What may be there


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_table_becomes_arrays_in_the_order_of_time(tmp_path, kind):
    table = read_auctions(write(tmp_path, [{**row, "note": "x"} for row in LOGGED], kind))
    assert table.ignored == ("note",)
    assert table.relevance == ("x",)
    auctions = to_arrays(table)
    assert auctions.query_id.to_list() == ["2", "1"]
    assert auctions.time_s.tolist() == [0.0, 4.0]
    # Ad a bids 1 in one event and 3 in the other: two ads of one advertiser.
    ads = list(zip(auctions.ad_id, auctions.bid, auctions.advertiser_id[auctions.advertiser], strict=True))
    assert ads == [("a", 1.0, "7"), ("b", 2.0, "8"), ("a", 3.0, "7")]
    assert auctions.candidate.tolist() == [[2, -1], [0, 1]]
    assert auctions.pctr.tolist() == [[0.1, 0.0], [0.1, 0.2]]
    assert auctions.relevance["x"].tolist() == [[0.0, 0.0], [0.5, 1.0]]
    assert auctions.position.tolist() == [[1, 0], [0, 1]]
    assert auctions.clicked.tolist() == [[False, False], [False, True]]
    assert auctions.price.tolist() == [[0.1, 0.0], [0.0, 0.5]]
    assert auctions.grade.tolist() == [[-1, -1], [0, 3]]
    assert not auctions.graded
    assert auctions.scorers == ("none", "x")
    market = table_market(auctions, relevance_by(auctions, "x"), seed=1, rule=Product())
    assert market.query.tolist() == [0, 1]


def test_ids_are_texts_or_numbers_and_flags_are_ones_or_truths(tmp_path):
    as_numbers = [{**row, "clicked": None if (c := row["clicked"]) is None else int(c)} for row in LOGGED]
    texts = [{**row, "query_id": f"q{row['query_id']}"} for row in LOGGED]
    assert read_auctions(write(tmp_path, as_numbers)).frame["clicked"].to_list() == [None, True, False]
    assert read_auctions(write(tmp_path, texts)).frame["query_id"].to_list() == ["q1", "q1", "q2"]


def test_the_other_types_of_parquet_are_read_too(tmp_path):
    frame = pl.DataFrame(LOGGED).with_columns(
        pl.col("ad_id").cast(pl.Categorical),
        pl.col("bid").cast(pl.Decimal(10, 2)),
        pl.col("pctr").cast(pl.Float32),
        pl.col("position").cast(pl.Float64),
        pl.col("grade").cast(pl.UInt8),
        pl.lit(None).alias("query"),
    )
    frame.write_parquet(tmp_path / "t.parquet")
    read = read_auctions(tmp_path / "t.parquet").frame
    assert read["bid"].to_list() == [1.0, 2.0, 3.0]
    assert read["position"].to_list() == [None, 1, 1]


def test_budgets_are_for_whom_they_are_given(tmp_path):
    auctions = read_auctions(write(tmp_path, LOGGED))
    budgets = read_budgets(write(tmp_path, [{"advertiser_id": "8", "budget": 2.5}], name="b"))
    found = to_arrays(auctions, budgets)
    assert found.advertiser_id.to_list() == ["7", "8"]
    assert found.budget_micros.tolist() == [10**15, 2_500_000]


def test_scorers_are_known_without_reading_the_rows(tmp_path):
    assert scorers_of(write(tmp_path, LOGGED)) == ("x", "oracle")
    assert scorers_of(write(tmp_path, ROWS, "jsonl")) == ("x",)


def test_the_json_schema_speaks_of_every_column():
    schema = json_schema()
    assert list(schema["properties"]) == [column.name for column in COLUMNS]
    assert schema["required"] == ["query_id", "ad_id", "advertiser_id", "bid", "pctr"]
    assert schema["properties"]["pctr"] == {
        "description": "predicted chance of a click if the slot is looked at",
        "type": ["number"],
        "minimum": 0.0,
        "maximum": 1.0,
    }
    json.dumps(schema)
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "log.md").read_text()
    assert not [column.name for column in COLUMNS if f"| `{column.name}` |" not in page]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_the_example_is_such_a_table(tmp_path, kind):
    path = tmp_path / f"example.{kind}"
    rows = write_example(path, n_rows=300)
    assert 290 <= rows <= 300
    table = read_auctions(path)
    assert len(table.frame) == rows
    assert table.ignored == ()
    assert to_arrays(table).scorers == ("none", "bm25", "model", "oracle")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert write_example(path, n_rows=30) <= 30  # an example is replaced, a table of one's own is not
    row = {"query_id": 1, "ad_id": 1, "advertiser_id": 1, "bid": 1.0, "pctr": 0.1}
    own = pl.DataFrame(row)
    own.write_parquet(path) if kind == "parquet" else own.write_ndjson(path)
    with pytest.raises(TableError, match="is there, and is no example; name another file"):
        write_example(path, n_rows=30)
    with pytest.raises(TableError, match="is a table already; give --example a scenario, or no file"):
        write_example(tmp_path / f"other.{kind}", n_rows=30, file=path)


# Whole files that are none


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"", "t.parquet: is empty; write one row for each candidate of each query"),
        ("t.jsonl", b"", "t.jsonl: is empty"),
        ("t.jsonl", b"\n\n", "t.jsonl: has no rows"),
        ("t.jsonl", b"[" * 3000 + b"\n", "t.jsonl, line 1: not valid JSON (nested too deeply)"),
        (
            "t.jsonl",
            b'{"bid": 1' + b"0" * 350 + b"}\n",
            "t.jsonl, line 1, column bid: needs a number, got 1000",
        ),
        ("t.jsonl", b"\x1f\x8b\x08\x00", "t.jsonl: is compressed (gzip); unpack it"),
        ("t.parquet", b"not parquet at all", "t.parquet: not a Parquet file, or damaged"),
        ("t.parquet", b"PAR1" + bytes(40) + b"PAR1", "t.parquet: not a Parquet file, or damaged"),
        ("t.csv", b"query_id\n1\n", "unknown file type '.csv'; a table is Parquet (.parquet) or JSON lines"),
        ("t.xlsx", b"PK", "polars.read_excel(...).write_parquet(...) converts it"),
        ("t", b"1", "unknown file type ''"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "t.jsonl, line 2: not valid JSON (expecting value in column 6)"),
        ("t.jsonl", b'{"a": 1}\n\n{"a": NaN}\n', "t.jsonl, line 3: not valid JSON (NaN is no JSON number"),
        (
            "t.jsonl",
            b'{"bid": 1, "query": "bid"}\n{"bid": 2, "bid": 3}\n',
            "t.jsonl, line 2: has the key 'bid' twice; remove one",
        ),
        (
            "t.jsonl",
            b'{"ad_id": "a", "\\u0061d_id": "b"}\n',
            "t.jsonl, line 1: has the key 'ad_id' twice; remove one",
        ),
        ("t.jsonl", b"PAR1\x15\x04", "t.jsonl: is a Parquet file, not a text"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "t.jsonl, line 2: needs an object such as"),
        ("t.jsonl", b'{"a": 1}\n7\n', "t.jsonl, line 2: needs an object such as"),
        ("t.jsonl", b'{"a": "\xff"}\n', "t.jsonl, line 1: not UTF-8 (byte 0xff)"),
        ("t.jsonl", b'{"a": 1}\n', "t.jsonl: 5 problems\n  t.jsonl: has no column query_id; add it"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    assert message in refusal(path)


def test_a_file_that_is_not_there(tmp_path):
    write(tmp_path, ROWS)
    assert refusal(tmp_path / "tt.parquet") == "tt.parquet: no such file; did you mean 't.parquet'?"
    (tmp_path / "gone.parquet").symlink_to("nowhere")
    assert "'gone.parquet'?" not in refusal(tmp_path / "gone.parquet")
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    assert refusal(folder) == "folder.parquet: is a folder; name one Parquet or JSON-lines file"


def test_json_lines_with_a_byte_order_mark_and_flags_of_two_kinds(tmp_path):
    path = write(
        tmp_path, [{**row, "note": note} for row, note in zip(LOGGED, (1, "x", {}), strict=True)], "jsonl"
    )
    text = path.read_text()
    assert '"clicked": false' in text
    path.write_text("\ufeff" + text.replace('"clicked": false', '"clicked": 0'))
    assert read_auctions(path).frame["clicked"].to_list() == [None, True, False]


def test_times_that_are_no_numbers_get_the_remedy_that_makes_seconds_of_them(tmp_path):
    table = pl.DataFrame(LOGGED).with_columns(pl.from_epoch(pl.col("time_s").cast(pl.Int64)))
    table.write_parquet(tmp_path / "t.parquet")
    said = refusal(tmp_path / "t.parquet")
    assert "found Datetime" in said
    assert 'polars.col("time_s").dt.epoch("s")' in said


def test_a_parquet_file_cut_short(tmp_path):
    path = write(tmp_path, LOGGED)
    path.write_bytes(path.read_bytes()[:-50])
    assert "not a Parquet file, or damaged" in refusal(path)


def test_a_table_without_rows(tmp_path):
    pl.DataFrame(ROWS).clear().write_parquet(tmp_path / "t.parquet")
    assert refusal(tmp_path / "t.parquet").startswith("t.parquet: has no rows; write one")


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_a_missing_column_is_guessed(tmp_path, kind):
    rows = [{**{k: v for k, v in row.items() if k != "pctr"}, "p_ctr": 0.1} for row in ROWS]
    assert "has no column pctr; did you mean 'p_ctr'? Then rename it" in refusal(write(tmp_path, rows, kind))


@pytest.mark.parametrize(
    ("found", "meant"),
    [
        ("positon", "position"), ("Grade", "grade"), ("grad", "grade"), ("time-s", "time_s"),
        ("Relevance_x", "relevance_x"), ("relevance-x", "relevance_x"), ("relevance x", "relevance_x"),
    ],
)  # fmt: skip
def test_a_misspelt_column_that_may_be_left_out_is_refused(tmp_path, found, meant):
    rows = [{found if k == meant else k: v for k, v in row.items()} for row in LOGGED]
    said = f"has a column '{found}', which means nothing here; did you mean '{meant}'? Then rename it"
    assert said in refusal(write(tmp_path, rows))


def test_columns_that_are_other_words_are_none_that_are_misspelt(tmp_path):
    others = dict.fromkeys(("time", "trade", "clicks", "relevant_ads", "Bid"), 1)
    assert set(read_auctions(write(tmp_path, [{**row, **others} for row in ROWS])).ignored) == set(others)
    nameless = refusal(write(tmp_path, [{**row, "relevance": 1} for row in ROWS]))
    assert "has a column 'relevance', which means nothing here; did you mean 'relevance_model'?" in nameless


def test_the_query_of_an_event_is_one(tmp_path):
    rows = [{**row, "query": f"shoe {place}"} for place, row in enumerate(LOGGED)]
    assert "column query: query event" in refusal(write(tmp_path, rows))
    assert 'has another query in an earlier row, here "shoe 1"; give it one' in refusal(write(tmp_path, rows))


@pytest.mark.parametrize(
    ("column", "value", "got"),
    [("ad_id", True, "true"), ("ad_id", 1.5, "1.5"), ("ad_id", ["a"], '["a"]'), ("query", ["a"], '["a"]')],
)
def test_what_is_no_text_among_texts_is_refused_in_json_lines(tmp_path, column, value, got):
    rows = changed(2, [{**row, "query": "shoe"} for row in LOGGED], **{column: value})
    said = refusal(write(tmp_path, rows, "jsonl"))
    assert said.startswith(f"t.jsonl, line 2, column {column}: needs ")
    assert said.endswith(f"got {got}")
    texts = changed(2, [{**row, "query": got} for row in rows], **{column: got})
    assert read_auctions(write(tmp_path, texts, "jsonl")).frame[column].to_list()[1] == got


# Values: (column, value, what is said of row 2)

VALUES = [
    ("bid", -0.5, "must be from 0 to 1e+06, got -0.5"),
    ("bid", 1000000.01, "must be from 0 to 1e+06, got 1000000.01"),
    ("bid", None, "is empty; it needs a number"),
    ("pctr", 1.2, "must be from 0 to 1, got 1.2"),
    ("relevance_x", -0.1, "must be from 0 to 1, got -0.1"),
    ("relevance_x", None, "is empty; it needs a number"),
    ("grade", 4, "must be from 0 to 3, got 4"),
    ("time_s", 1.7e12, "must be from 0 to 1e+12, got 1.7e+12; divide milliseconds by 1000"),
    ("position", 0, "must be from 1 to 20, got 0; positions count from 1"),
    ("time_s", None, "is empty; it needs a number"),
    ("ad_id", "", "is an empty text; it needs a text or a whole number"),
    ("ad_id", None, "is empty; it needs a text or a whole number"),
    ("query_id", None, "is empty; it needs a text or a whole number"),
    ("price", -1.0, "must be from 0 to 1e+06, got -1"),
    # Between columns and rows
    ("ad_id", "a", 'ad "a" is twice in query event "1"; keep one row of it'),
    ("advertiser_id", 7, 'advertiser "7" has two ads in query event "1", and a page shows one'),
    ("time_s", 6.0, 'query event "1" has another time in an earlier row, here 6; give it one'),
    ("clicked", None, "is empty though the ad was shown; fill it in"),
    ("price", None, "is empty though the ad was shown; fill it in"),
    ("position", None, "is true though the ad was not shown; add its position"),
]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize(("column", "value", "message"), VALUES)
def test_a_bad_value_is_named_with_row_and_column(tmp_path, kind, column, value, message):
    said = refusal(write(tmp_path, changed(2, **{column: value}), kind))
    told = "clicked" if column == "position" and value is None else column
    place = "row 2" if kind == "parquet" else "line 2"
    assert f"t.{kind}, {place}, column {told}: {message}" in said


def test_numbers_that_are_none(tmp_path):
    for value, message in (
        (math.nan, "is NaN; drop the row"),
        (math.inf, "is infinite"),
        (-math.inf, "is inf"),
    ):
        assert f"t.parquet, row 3, column bid: {message}" in refusal(
            write(tmp_path, changed(3, bid=value)), read_auctions
        )
    halves = changed(2, [{**row, "grade": 1.0} for row in ROWS], grade=1.5)
    assert "row 2, column grade: needs a whole number, got 1.5" in refusal(write(tmp_path, halves))
    assert "column clicked: must be true, false, 1 or 0, got 2" in refusal(
        write(tmp_path, [{**row, "position": 1, "clicked": 2} for row in ROWS[1:]])
    )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("bid", "1.5", 'needs a number, got "1.5"; remove the quotes'),
        ("bid", True, "needs a number, got true"),
        ("bid", [1], "needs a number, got [1]"),
        ("query_id", 1.5, "needs a text or a whole number, got 1.5"),
        ("clicked", "yes", 'needs true, false, 1 or 0, got "yes"'),
        ("position", {"slot": 1}, 'needs a whole number, got {"slot": 1}'),
        ("relevance_x", "high", 'needs a number, got "high"'),
    ],
)
def test_one_json_value_of_another_type(tmp_path, column, value, message):
    assert refusal(write(tmp_path, changed(2, **{column: value}), "jsonl")) == (
        f"t.jsonl, line 2, column {column}: {message}"
    )


def test_a_parquet_column_of_another_type(tmp_path):
    frame = pl.DataFrame(LOGGED)
    frame.with_columns(pl.col("bid").cast(pl.String)).write_parquet(tmp_path / "t.parquet")
    assert refusal(tmp_path / "t.parquet") == (
        't.parquet, column bid: needs a number in each row, found String, row 1: "1.0"; convert it with '
        'polars.col("bid").cast(polars.Float64)'
    )
    frame.with_columns(pl.lit("true").alias("clicked")).write_parquet(tmp_path / "t.parquet")
    assert 'convert it with polars.col("clicked") == "true"' in refusal(tmp_path / "t.parquet")
    frame.with_columns(pl.struct("bid").alias("bid")).write_parquet(tmp_path / "t.parquet")
    assert 'convert it with polars.col("bid").struct.field("bid")' in refusal(tmp_path / "t.parquet")
    table = frame.to_arrow()
    pq.write_table(table.append_column("bid", table["bid"]), tmp_path / "t.parquet")
    assert refusal(tmp_path / "t.parquet") == "t.parquet: has the column 'bid' twice; remove one"
    frame.with_columns(pl.lit([1]).alias("query"), pl.lit(True).alias("pctr")).write_parquet(
        tmp_path / "t.parquet"
    )
    said = refusal(tmp_path / "t.parquet")
    assert "2 problems" in said
    assert "column query: needs a text in each row, found List" in said
    assert "column pctr: needs a number in each row, found Boolean" in said


def test_what_is_wrong_between_rows(tmp_path):
    moved = changed(3, advertiser_id=9)
    assert 'row 3, column advertiser_id: ad "a" belongs to another advertiser in an earlier row' in refusal(
        write(tmp_path, moved)
    )
    taken = changed(1, position=1, clicked=False, price=0.2)
    assert 'row 2, column position: position 1 is taken twice in query event "1"' in refusal(
        write(tmp_path, taken)
    )
    lonely = [{**row, "clicked": False} for row in ROWS]
    assert "row 1, column clicked: means nothing without the column position; add that" in refusal(
        write(tmp_path, lonely)
    )
    crowd = [{"query_id": 1, "ad_id": n, "advertiser_id": n, "bid": 1.0, "pctr": 0.1} for n in range(1001)]
    assert "more than 1,000 candidates; keep its best" in refusal(write(tmp_path, crowd))


def test_lines_are_counted_with_the_empty_ones(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(["", json.dumps(ROWS[0]), "", json.dumps({**ROWS[1], "bid": -1.0}), ""]))
    assert "t.jsonl, line 4, column bid: must be" in refusal(path)


def test_all_faults_are_told_each_with_its_number_of_rows(tmp_path):
    rows = [{**row, "pctr": 2.0} for row in changed(2, bid=-1.0)]
    assert refusal(write(tmp_path, rows)).splitlines() == [
        "t.parquet: 2 problems",
        "  t.parquet, row 1, column pctr: must be from 0 to 1, got 2 (so too 2 other rows)",
        "  t.parquet, row 2, column bid: must be from 0 to 1e+06, got -1",
    ]


def test_budgets_that_are_none(tmp_path):
    twice = [{"advertiser_id": 1, "budget": 5.0}, {"advertiser_id": 1, "budget": 6.0}]
    assert 'row 2, column advertiser_id: "1" is there twice' in refusal(write(tmp_path, twice), read_budgets)
    below = [{"advertiser_id": 1, "budget": -5.0}]
    assert "row 1, column budget: must be from 0 to 1e+09" in refusal(write(tmp_path, below), read_budgets)
    assert "has no column budget" in refusal(write(tmp_path, ROWS), read_budgets)
    others = read_budgets(write(tmp_path, [{"advertiser_id": "nobody", "budget": 1.0}]))
    with pytest.raises(TableError, match=r"has a budget for none of the advertisers of the auctions"):
        to_arrays(read_auctions(write(tmp_path, ROWS, name="rows")), others)


def test_a_hint_is_for_the_end_of_the_range_that_it_helps_at(tmp_path):
    below, above = changed(2, LOGGED, position=0), changed(2, LOGGED, position=21)
    assert "got 0; positions count from 1" in refusal(write(tmp_path, below))
    assert refusal(write(tmp_path, above)).endswith("must be from 1 to 20, got 21")


@settings(max_examples=60, deadline=None)
@given(
    row=st.integers(1, 3),
    column=st.sampled_from(["bid", "pctr", "relevance_x", "price", "time_s"]),
    value=st.one_of(
        st.floats(allow_nan=True, allow_infinity=True),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.none(),
    ),
    kind=st.sampled_from(["parquet", "jsonl"]),
)
def test_any_number_is_taken_or_refused_in_words(tmp_path_factory, row, column, value, kind):
    rows = [dict(old) for old in LOGGED]
    rows[row - 1][column] = value
    folder = tmp_path_factory.mktemp("any")
    path = folder / f"t.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    else:
        try:
            pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            return  # no such Parquet file can be written
    try:
        frame = read_auctions(path).frame
    except TableError as error:
        assert re.search(
            rf"(row|line) \d.*column {column}: |column {column}: needs|not valid JSON", str(error)
        )
    else:
        assert np.isfinite(frame["bid"].to_numpy()).all()
        assert frame["pctr"].is_between(0, 1).all()
        assert frame["relevance_x"].is_between(0, 1).all()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_parquet_file_is_never_a_traceback(tmp_path_factory, data):
    path = write(tmp_path_factory.mktemp("damaged"), LOGGED)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        read_auctions(path)
    except TableError as error:
        assert str(error).startswith(str(path))


# From the command line: exit code 2, one message, nothing written


@pytest.mark.parametrize(
    ("rows", "arguments", "message"),
    [
        (changed(2, bid=-1.0), [], "row 2, column bid"),
        (LOGGED, ["--relevance", "y"], "has no column relevance_y"),
        (LOGGED, ["--relevance", "relevance_x"], "did you mean 'x'?"),
        (LOGGED, ["–relevance", "x"], "–relevance: begins with a dash that is no '-'; type --relevance"),
        (LOGGED, ["--insist"], "stands before the command: relbid --insist replay"),
        (LOGGED, ["--example=~/x.parquet"], "no shell replaces '~' after '='"),
        (LOGGED, ["--relevance", "oracle"], "has candidates without a grade, which the scorer oracle needs"),
        (LOGGED, ["--thresholds", "0.5,nan", "--rule", "product"], "needs numbers with commas between"),
        (LOGGED, ["--example", "x.jsonl", "--rule", "gate"], "--rule: is of a replay, and an example is"),
        (LOGGED, ["--rule", "gates"], "unknown rule; did you mean 'gate'?"),
        (LOGGED, ["--thresholds", "0.5,1.5"], "must be one or more numbers from 0 to 1"),
        (LOGGED, ["--examination", "0,1"], "needs one probability from 0 to 1 per slot"),
        (LOGGED, ["--examination", ",".join("1" * 101)], "for instance 1,0.7,0.5; at most 100"),
        (LOGGED, ["--mechanism", "gps"], "relbid: --mechanism: unknown auction mechanism"),
        (LOGGED, ["--mechanism", "vcg", "--rule", "tiers"], "is not defined for this fusion rule"),
        (changed(2, clicked=False), [], "has no click to estimate from how likely each slot is looked at"),
        ([{**row, "pctr": 5e-324} for row in LOGGED], [], "column pctr: is 0, or nearly, where the log has"),
        ([{**row, "pctr": 0.0} for row in LOGGED], [], "column pctr: is 0, or nearly, where the log has"),
        ([{**row, "relevance_none": 0.5} for row in LOGGED], [], "has a column relevance_none, and the"),
        (LOGGED, ["--advertisers", "none.parquet"], "none.parquet: no such file"),
    ],
)
def test_nothing_is_written_on_failure(tmp_path, monkeypatch, capsys, rows, arguments, message):
    path = write(tmp_path, rows)
    out = tmp_path / "results"
    monkeypatch.setattr("sys.argv", ["relbid", "replay", str(path), "--out", str(out), *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in " ".join(said.err.split())
    assert not out.exists()


def test_an_example_of_an_unknown_kind_is_not_written(tmp_path, monkeypatch, capsys):
    path = tmp_path / "example.csv"
    monkeypatch.setattr("sys.argv", ["relbid", "replay", "--example", str(path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "unknown file type '.csv'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
