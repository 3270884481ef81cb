"""Fusion rules written as expressions in scenario files."""

import pytest

from scenarios import load_scenario, prepare, relevance_of, simulate
from scenarios.errors import ScenarioError


def test_a_formula_in_a_scenario_is_the_rule_that_it_spells(tiny_text, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(f'{tiny_text}\nfusion: {{rule: formula, expression: "b * q * r^0.5"}}\n')
    scenario = load_scenario(path, ["sweep=null"])
    prepared = prepare(scenario)
    relevance = relevance_of(prepared, "bm25")
    formula = simulate(prepared, relevance).metrics
    product = simulate(prepared, relevance, {"fusion": {"rule": "product", "relevance": 0.5}}).metrics
    assert formula == pytest.approx(product, rel=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("b * q * rele", "character 9: unknown name 'rele'"),
        ("min(b, 5) * q", "the score does not rise strictly in the bid"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_field(tiny_file, expression, message):
    with pytest.raises(ScenarioError) as caught:
        load_scenario(tiny_file, ["sweep=null", "fusion.rule=formula", f'fusion.expression="{expression}"'])
    assert "expression" in str(caught.value)
    assert message in str(caught.value)
