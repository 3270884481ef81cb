"""Both languages say the same things, and no page says anything that is not in the catalogues."""

from __future__ import annotations

import ast
import pickle
import re
import shutil
import string
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, language, wording
from app.figures import trade_off_figures as figures
from app.language import LANGUAGES, catalogue, say, t
from app.setting import Setting, in_words
from scenarios import REASONS, SHIPPED_RULES, FormulaError, judge_formula
from simulator.rules.formula import READING_FAULTS
from simulator.rules.rule_check import FAULTS, WHERE
from tests.app.test_figures import metrics, points
from tests.app.test_pages import MAIN, chart, dashboard as dashboard, html, until_ended

APP = Path(MAIN).parent
KEY = re.compile(r"[a-z_]+\.[a-z0-9_]+")

ALLOWED = {
    "AUC", "NDCG@10", "PNR", "Spearman",  # named alike in every language
    "middle left", "middle center", "middle right", "bottom center", "top center", "top right",  # Plotly's
    "ignores relevance",  # a key of SHIPPED_RULES
}  # fmt: skip
"""Texts in the code of pages and figures that need no translation."""

CODE_WORDS = {"relbid experiment scenarios/experiments/interference.yaml", "first run"}
"""Commands, and the subject of one."""


def placeholders(message: language.Message) -> set[str]:
    forms = [message] if isinstance(message, str) else list(message.values())
    return {name for form in forms for _, name, _, _ in string.Formatter().parse(form) if name}


def test_the_catalogues_have_the_same_keys_and_placeholders() -> None:
    english, *others = (catalogue(code) for code in LANGUAGES)
    for other in others:
        assert set(english) == set(other)
        for key, message in english.items():
            assert placeholders(message) == placeholders(other[key]), key


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_text_is_a_text_or_has_the_form_that_fits_any_number(code: str) -> None:
    for key, message in catalogue(code).items():
        if isinstance(message, str):
            assert message.strip(), key
        else:
            assert set(message) <= {"one", "other"}, key
            assert "other" in message, key
            assert "n" in placeholders(message), key


def test_chinese_is_chinese() -> None:
    latin = {key for key, message in catalogue("zh").items() if not re.search("[一-鿿]", str(message))}
    named_alike = {
        "words.semicolon", "words.comma", "scorers.bm25", "scorers.hcmrm", "mechanisms.vcg",
        "lab.with_ece", "experiments.hover",
    }  # fmt: skip
    assert latin <= named_alike | {key for key in latin if not re.search("[A-Za-z]{3}", _said(key))}


def _said(key: str) -> str:
    """A text without its placeholders and tags."""
    return re.sub(r"\{.*?\}|<.*?>", "", str(catalogue("zh")[key]))


@pytest.mark.parametrize(
    ("page", "sentences"),
    [("why", REASONS), ("faults", {**FAULTS, "where": WHERE}), ("reading", READING_FAULTS)],
)
def test_what_lies_below_is_said_as_scripts_get_it(page: str, sentences: dict[str, str]) -> None:
    texts = catalogue("en").items()
    said = {key.partition(".")[2]: text for key, text in texts if key.startswith(f"{page}.")}
    assert said == sentences


def test_faults_of_a_formula_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = judge_formula("min(b, 5) * q")
    assert [wording.fault(fault) for fault in verdict.faults] == list(verdict.faults)
    with pytest.raises(FormulaError) as caught:
        judge_formula("b * (q")
    assert wording.reading_fault(caught.value) == caught.value.reason == "expected ), but the expression ends"
    monkeypatch.setattr(language, "current", lambda: "zh")
    assert wording.fault(verdict.faults[0]).startswith("得分没有随出价严格上升：出价 ")
    assert wording.reading_fault(caught.value) == "此处应为 )，但表达式已结束"
    again = pickle.loads(pickle.dumps(verdict.faults[0]))  # as to another process
    assert again == verdict.faults[0]


def test_built_in_rules_have_names() -> None:
    assert [wording.rule_name(name) for name in SHIPPED_RULES] == list(SHIPPED_RULES)
    assert wording.rule_name("my_own") == "my own"


def test_forms_follow_the_number() -> None:
    assert say("en", "inspector.not_shown", n=1) == "Not shown: 1 candidate"
    assert say("en", "inspector.not_shown", n=2) == "Not shown: 2 candidates, best first"
    assert say("zh", "inspector.not_shown", n=1) == "未展示的 1 个候选广告（得分高者在前）"
    assert say("zh", "market.spending_title", n=1) == "全天预算消耗进度"


def sources() -> list[Path]:
    return [path for path in sorted(APP.rglob("*.py")) if path.name != "language.py"]


def strings(tree: ast.AST) -> list[tuple[int, str]]:
    """String constants of a module, but for its documentation."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
    }  # fmt: skip
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def whole_strings(tree: ast.AST) -> set[str]:
    """String constants that are no part of an f-string."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
    }


def looks_like_a_text(value: str) -> bool:
    """A word with a capital letter, or words with a space between them."""
    value = re.sub(r"<[^>]*>?|%\{[^}]*\}|&[a-z]+;", "", value)
    return bool(re.search(r"\b[A-Z][a-z]{2,}|[A-Za-z]{2,}[,.:;]? [A-Za-z]{2,}", value))


SHOWN = [
    *sorted((APP / "views").glob("*.py")),
    *sorted((APP / "figures").glob("*.py")),
    *sorted((APP / "bar").glob("*.py")),
    *sorted((APP / "parts").glob("*.py")),
    *(APP / f"{name}.py" for name in ("main", "setting", "wording", "address", "notes", "opening", "days")),
]
"""Files that draw something."""


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.stem)
def test_no_page_and_no_figure_has_a_text_of_its_own(path: Path) -> None:
    found = [
        f"{path.name}:{line}: {value!r}"
        for line, value in strings(ast.parse(path.read_text(encoding="utf-8")))
        if looks_like_a_text(value) and value not in ALLOWED | CODE_WORDS
    ]
    assert not found, "write them into app/languages/*.yaml and show them with t(): " + "; ".join(found)


def test_the_check_finds_a_text() -> None:
    assert looks_like_a_text("Simulating the day …")
    assert looks_like_a_text("Revenue")
    assert looks_like_a_text("filled slots")
    assert not looks_like_a_text("bold-text")
    assert not looks_like_a_text("<b>%{x:.2f}</b>")
    assert not looks_like_a_text("trade_off.title")


def test_every_key_is_there_and_every_text_is_shown() -> None:
    used: set[str] = set()
    made: list[re.Pattern[str]] = []
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used |= {value for value in whole_strings(tree) if KEY.fullmatch(value)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z0-9_-]*"
                    for part in node.values
                ]
                if KEY.fullmatch(
                    "".join("x" if part == "[a-z0-9_-]*" else part.replace("\\", "") for part in parts)
                ):
                    made.append(re.compile("".join(parts)))
    known = set(catalogue("en"))
    pages = {key.partition(".")[0] for key in known}
    asked = {key for key in used if key.partition(".")[0] in pages and not key.endswith((".py", ".yaml"))}
    fields = {"fusion.rule", "fusion.threshold"}  # of a scenario
    assert asked - known - fields - {key for key in asked if key.startswith("market.advertisers")} == set()
    by_name = re.compile(r"(metrics|scorers|rules|market\.group)[._].*")  # see wording._known
    silent = {
        key
        for key in known - used
        if not by_name.fullmatch(key) and not any(pattern.fullmatch(key) for pattern in made)
    }
    assert not silent, f"shown nowhere: {sorted(silent)}"


# In Chinese


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "current", lambda: "zh")


@pytest.mark.usefixtures("chinese")
def test_answers_in_chinese() -> None:
    assert in_words(Setting("hcmrm", "b*q*r^0.5", 0.0, 0.05)) == "HCMRM（幂次 0.5）"
    said = wording.answer(metrics(103.0, 0.05), metrics(100.0, 0.1))
    assert said == "不相关广告约为 5.0%，而非 10.0%，收入增加 3.0%。"
    assert wording.key_figures(metrics(), metrics())[0].label == "千次查询收入"
    beaten = wording.why("below_reserve", {"bid": 0.04, "reserve": 0.05, "mechanism": None})
    assert beaten == "不合格：出价 0.04 低于保留价 0.05。"
    paid = {"slot": 1, "score": 0.5, "price": 0.01, "per_click": 0.2, "p_click": 0.05, "mechanism": "gsp"}
    assert "广义第二价格" in wording.why("pays_for_impression", paid)


@pytest.mark.usefixtures("chinese")
def test_figures_in_chinese() -> None:
    drawn = figures.trade_off(points(("sweep", "bm25", 1.0, 0.05, 200.0, True)))
    assert drawn.layout.title.text == "收入与不相关广告占比（每条线为一个打分器）"
    assert "千次查询收入" in drawn.layout.yaxis.title.text


def test_a_reader_outside_of_a_session_reads_english() -> None:
    assert language.current() == "en"
    assert t("pages.market") == "Market"


def test_every_page_draws_in_chinese(dashboard: AppTest) -> None:
    dashboard.query_params["lang"] = "zh"
    at = dashboard.run()
    for page in ("trade_off", "inspector", "market", "health", "formula"):
        at.switch_page(f"views/{page}_page.py").run()
        assert not at.exception
        assert not at.error
        assert at.title[0].value == catalogue("zh")[f"{page}.title"]
        assert at.get("plotly_chart")


def test_the_switch_changes_the_language_and_keeps_what_was_chosen(dashboard: AppTest) -> None:
    at = dashboard.run()
    at.slider(key="exponent").set_value(2.0).run()
    at.radio(key="language").set_value("zh").run()
    assert not at.exception
    assert at.title[0].value == "相关性的代价与收益"
    assert at.slider(key="exponent").value == 2.0
    assert at.query_params["lang"] == "zh"
    assert at.text_input(key="formula").value == "b*q*r^2"
    at.switch_page("views/inspector_page.py").run()
    assert at.title[0].value == "一次竞价：从查询到价格"
    assert "广告位 1" in html(at)
    assert chart(at, "排序：")["data"]
    at.radio(key="language").set_value("en").run()
    assert at.title[0].value == "One auction, from query to price"
    assert "lang" not in at.query_params


def test_a_newcomer_is_welcomed_in_chinese(
    dashboard: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    dashboard.query_params["lang"] = "zh"
    at = dashboard.run()
    assert not at.exception
    assert at.title[0].value == "还没有运行过任何场景"
    assert at.button[0].label == "运行内置场景"
    assert at.radio(key="language").value == "zh"


def test_who_waits_for_frames_can_switch_the_language(
    dashboard: AppTest, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "results"
    shutil.copytree(results, root, ignore=shutil.ignore_patterns(".*"))  # without what is kept
    monkeypatch.setenv("RELBID_RESULTS", str(root))
    monkeypatch.setenv("PYTHONPATH", str(APP.parent))
    dashboard.query_params["lang"] = "zh"
    at = dashboard.run()
    (job,) = jobs.all_jobs(root)
    assert not at.exception
    if not at.title:  # the command may have been quicker
        assert any("需要先绘制此市场的图片" in found.value for found in at.markdown)
        at.radio(key="language").set_value("en").run()
        assert not at.exception
        at.radio(key="language").set_value("zh").run()
    assert until_ended(job).state == "done"
    at.run()
    assert at.title[0].value == "相关性的代价与收益"


def test_an_unknown_language_in_the_address_is_english(dashboard: AppTest) -> None:
    dashboard.query_params["lang"] = "xx"
    at = dashboard.run()
    assert at.title[0].value == "What does relevance cost, and what does it earn?"
