"""The dashboard's figures: pure functions from tables to plotly figures.

Backgrounds and text colours are left to the page's theme, so that they follow light and dark.
"""

from app.figures.auction import ranking as ranking
from app.figures.auction import slots as slots
from app.figures.experiments import by_size as by_size
from app.figures.experiments import forest as forest
from app.figures.experiments import split_errors as split_errors
from app.figures.formula import among_rules as among_rules
from app.figures.formula import iso_scores as iso_scores
from app.figures.market import accounts as accounts
from app.figures.market import fill as fill
from app.figures.market import latency as latency
from app.figures.market import prices as prices
from app.figures.market import revenue as revenue
from app.figures.market import spending as spending
from app.figures.market import timeouts as timeouts
from app.figures.market import traffic as traffic
from app.figures.offline import reliability as reliability
from app.figures.offline import score_distributions as score_distributions
from app.figures.points import ChosenPoint as ChosenPoint
from app.figures.points import changes_by_side as changes_by_side
from app.figures.points import grade_mix as grade_mix
from app.figures.points import parse_point_id as parse_point_id
from app.figures.points import point_id as point_id
from app.figures.points import selected_id as selected_id
from app.figures.points import trade_off as trade_off
from app.figures.points import who_gains as who_gains
from app.figures.sweeps import parallel as parallel
from app.figures.sweeps import sensitivities as sensitivities
from app.figures.sweeps import sweep_front as sweep_front
from app.figures.sweeps import two_fronts as two_fronts
