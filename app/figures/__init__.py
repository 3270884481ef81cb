"""The dashboard's figures: pure functions from tables to plotly figures.

Backgrounds and text colours are left to the page's theme, so that they follow light and dark.
"""

from app.figures.auction_figures import ranking as ranking, slots as slots
from app.figures.experiment_figures import by_size as by_size, forest as forest, split_errors as split_errors
from app.figures.formula_figures import among_rules as among_rules, iso_scores as iso_scores
from app.figures.market_figures import (
    accounts as accounts,
    fill as fill,
    latency as latency,
    prices as prices,
    revenue as revenue,
    spending as spending,
    timeouts as timeouts,
    traffic as traffic,
)
from app.figures.offline_figures import reliability as reliability, score_distributions as score_distributions
from app.figures.sweep_figures import (
    parallel as parallel,
    sensitivities as sensitivities,
    sweep_front as sweep_front,
    two_fronts as two_fronts,
)
from app.figures.trade_off_figures import (
    ChosenPoint as ChosenPoint,
    changes_by_side as changes_by_side,
    grade_mix as grade_mix,
    parse_point_id as parse_point_id,
    point_id as point_id,
    selected_id as selected_id,
    trade_off as trade_off,
    who_gains as who_gains,
)
