"""A market: everything that a run needs, drawn before the first query comes.

What is known of pairs is in tables, or computed for the queries of a batch (pairs.py); their relevance is in
tables, or asked of a scorer (scoring.py). Nothing else changes during a run, so one market serves every point
of a sweep; `with_relevance` and `with_rule` make cheap variants that share all the rest.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from numpy.typing import ArrayLike

from relevance.ranges import check_ranges, check_within
from simulator import arrivals, bidders, random, retrieval
from simulator.arrays import BoolArray, FloatArray, GradeArray, IntArray, to_micros
from simulator.auction import AuctionModel as AuctionModel
from simulator.bidders import BidderModel, Followers
from simulator.click_learning import Features, Prediction
from simulator.fusion import FusionRule, Product
from simulator.ledger import UNLIMITED
from simulator.pairs import ComputedPairs, Known, PairDraws, Pairs, PairTables, Seen
from simulator.pctr import CtrModel
from simulator.policies import Bids, State, churn
from simulator.policies.match_types import MatchCounts
from simulator.policies.seats import seat_of
from simulator.retrieval import RECALLS, Candidates, KeywordIndex
from simulator.scoring import RelevanceSource
from simulator.serving import ServingModel as ServingModel
from simulator.sessions import SessionModel, Visits, session_lengths, single_visits, visits
from simulator.users import UserModel

if TYPE_CHECKING:
    from simulator.world import World


ONE_SLOT = UserModel(examination=(1.0,))
"""Users of a page with one slot, who always look at it."""


@dataclass(frozen=True, slots=True)
class TrafficModel:
    """How many queries come in a day, when, and by whom."""

    n_queries: Annotated[int, Ge(1), Le(10**9)] = 100_000  # in a day
    fixed_count: bool = True  # exactly n_queries; otherwise a Poisson number with that mean
    horizon_s: Annotated[float, Gt(0), Le(1e7)] = 86_400.0  # one day, for which the budgets are
    shape: Annotated[tuple[Annotated[float, Ge(0), Le(1e6)], ...], MinLen(1), MaxLen(10_000)] = (
        arrivals.DAY_SHAPE  # relative rate in equal parts of the horizon
    )
    days: Annotated[int, Ge(1), Le(100_000)] = 1
    warm_up_days: Annotated[int, Ge(0), Le(100_000)] = 0  # simulated before these, and in no result; see Past
    sessions: SessionModel = field(default_factory=SessionModel)

    def __post_init__(self) -> None:
        check_ranges(self, "traffic")
        if not any(self.shape):
            raise ValueError("traffic.shape must have a rate above 0, got zeros alone")


class WarmUp(NamedTuple):
    """Who comes in the days before the ones that are measured; see `Market`."""

    arrival_s: FloatArray  # [Q] ascending, from 0
    query: IntArray  # [Q]
    user: IntArray | None
    days: int
    arm: IntArray | None = None  # [Q]

    def some(self, which: BoolArray | IntArray) -> "WarmUp":
        """The same days with some of the arrivals."""
        return WarmUp(
            self.arrival_s[which],
            self.query[which],
            None if self.user is None else self.user[which],
            self.days,
            None if self.arm is None else self.arm[which],
        )


class Past(NamedTuple):
    """What the first measured day inherits from the days before; N advertisers, M users."""

    prediction: Prediction | None
    bidding: Bids | None  # None: as before the first tick
    states: tuple[State, ...]  # of the market's policies
    satisfaction: FloatArray  # [M]
    returns: churn.Returns
    left: BoolArray  # [N]
    matches: MatchCounts | None = None  # None: nobody bids by match type


Judged = Callable[[IntArray, IntArray], BoolArray]
"""Whether a person has graded pairs of queries I[P] in 0 .. U-1 and ads I[P]."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What a market is drawn from: U distinct queries, A ads, N advertisers."""

    grade: Callable[[IntArray, IntArray], GradeArray]  # true, of queries I[Q, 1] and ads I[Q, K]
    query_popularity: FloatArray  # [U] share of the traffic
    advertiser: IntArray  # [A]
    n_advertisers: int
    query_category: IntArray | None = None  # [U]; None: there are no categories
    ad_category: IntArray | None = None  # [A] declared
    intents: Callable[[], IntArray] | None = None  # I[U] what is behind each query; None: all differ
    value_factor: FloatArray | None = None  # [A] times the drawn value per click
    bid: FloatArray | None = None  # [A] currency per click before pacing; NaN: from the drawn value
    judged: Judged | None = None

    @classmethod
    def of_world(cls, world: "World") -> "Supply":
        """The supply of an embedded world."""
        return cls(
            grade=world.truth.grade,
            query_popularity=world.query_popularity,
            advertiser=world.advertiser,
            n_advertisers=world.n_advertisers,
            query_category=world.query_category,
            ad_category=world.ad_category,
            intents=lambda: world.query_intent,
        )

    @property
    def n_queries(self) -> int:
        return int(self.query_popularity.size)


class Retrieval(NamedTuple):
    """Finds candidates when they are asked for."""

    find: Callable[[IntArray], Candidates]  # of queries I[Q]
    n_candidates: int  # of a query at most


@dataclass(frozen=True, slots=True)
class Market:
    """All that a run needs: U distinct queries, K candidates, A ads, N advertisers, Q arrivals."""

    seed: int
    pairs: Pairs  # of a query and a candidate
    relevance: RelevanceSource  # the platform's score of pairs, in [0, 1]
    # Advertisers and their ads
    advertiser: IntArray  # [A]
    value: FloatArray  # [A] currency per click
    budget_micros: IntArray  # [N]
    paced: BoolArray  # [N]
    # Arrivals
    arrival_s: FloatArray  # [Q] ascending
    query: IntArray  # [Q] in 0 .. U-1
    horizon_s: float
    query_category: IntArray | None = None  # [U]
    # Cheap scorers' relevance
    fallback_relevance: RelevanceSource = None  # ranks queries that have timed out
    first_stage_relevance: RelevanceSource = None  # of two stages: chooses what the scorer sees
    # Rule and models
    rule: FusionRule = field(default_factory=Product)
    auction: AuctionModel = field(default_factory=AuctionModel)
    users: UserModel = field(default_factory=UserModel)
    bidders: BidderModel = field(default_factory=BidderModel)
    serving: ServingModel = field(default_factory=ServingModel)
    # For more than one day, and for experiments within one market
    days: int = 1  # each horizon_s long, with budgets renewed
    user: IntArray | None = None  # [Q] who asks; None: nobody is followed from day to day
    policies: tuple[Followers, ...] = ()  # who bids how; none: `paced` and `bidders` say it
    seat: IntArray | None = None  # [N] who is compared with others, see policies.seats.seat_of
    arm: IntArray | None = None  # [Q] the rule, of (rule, *other_rules), that ranks an arrival; None: `rule`
    other_rules: tuple[FusionRule, ...] = ()
    # The click prediction, and the days before the measured ones
    ctr: CtrModel = field(default_factory=CtrModel)  # learnt: `pairs` holds the first guess alone
    ad_category: IntArray | None = None  # [A] declared
    warm_up: WarmUp | None = None  # days simulated before, by draws of their own
    past: Past | None = None  # what has come of them, where that is known already
    judged: Judged | None = None  # which true grades people gave; None: all are known

    def __post_init__(self) -> None:
        shape = self.pairs.n_queries, self.pairs.n_candidates
        for name in ("relevance", "fallback_relevance", "first_stage_relevance"):
            if isinstance(table := getattr(self, name), np.ndarray) and table.shape != shape:
                raise ValueError(f"market.{name} is {table.shape}, the candidates are {shape}")
        if self.arrival_s.shape != self.query.shape or bool((np.diff(self.arrival_s) < 0).any()):
            raise ValueError("market.arrival_s must ascend and have one time per query")
        end_s = self.days * self.horizon_s
        if self.arrival_s.size and not 0 <= self.arrival_s[0] <= self.arrival_s[-1] < end_s:
            raise ValueError(
                f"market.arrival_s must lie in [0, days x horizon_s) = [0, {end_s:g}), got times from "
                f"{self.arrival_s[0]:g} to {self.arrival_s[-1]:g}: what comes later would never be answered"
            )
        if isinstance(self.pairs, PairTables):  # retrieval takes one ad of each
            owner = np.sort(np.where(self.candidate >= 0, self.advertiser[self.candidate], -1), axis=1)
            if bool(((owner[:, 1:] == owner[:, :-1]) & (owner[:, 1:] >= 0)).any()):
                raise ValueError("market.candidate holds two ads of one advertiser for the same query")
        for rule in (self.rule, *self.other_rules):
            self.auction.check(rule, self.users.examination, self.query_category)

    @property
    def n_slots(self) -> int:
        """Slots on a page: one per examination probability."""
        return len(self.users.examination)

    @property
    def joins(self) -> IntArray:
        """The day on which each advertiser comes, I[N]; 0 for those who are there from the start."""
        u = random.uniforms(self.seed, "joins", 0, 1, self.budget_micros.size)[0]
        return churn.joining_day(self.bidders.churn, u, self.days)

    @property
    def n_arms(self) -> int:
        """Rules that rank its arrivals."""
        return 1 if self.arm is None else 1 + len(self.other_rules)

    def first_prediction(self) -> Prediction:
        """The learnt prediction before any click."""
        known = Features(
            n_queries=self.pairs.n_queries,
            n_candidates=self.pairs.n_candidates,
            advertiser=self.advertiser,
            n_recalls=len(RECALLS),
            ad_category=self.ad_category,
            relevance=self.ctr.relevance,
            n_arms=self.n_arms,
        )
        return Prediction.before_any_click(known, self.users.examination, self.ctr.first_guess)

    @property
    def tables(self) -> PairTables:
        """The pairs as tables; ValueError where they are computed."""
        if not isinstance(self.pairs, PairTables):
            raise ValueError("the market computes its pairs batch by batch, and has no tables of them")
        return self.pairs

    @property
    def candidate(self) -> IntArray:
        """The ads I[U, K] of a market with tables, as the next four; see `pairs.Known`."""
        return self.tables.candidate

    @property
    def grade(self) -> GradeArray:
        return self.tables.grade

    @property
    def attraction(self) -> FloatArray:
        return self.tables.attraction

    @property
    def pctr(self) -> FloatArray:
        return self.tables.pctr

    @property
    def recall(self) -> GradeArray:
        return self.tables.recall


def hand_market(
    bid: ArrayLike,
    *,
    n_queries: int = 6,
    budget: ArrayLike | None = None,
    attraction: float = 1.0,
    users: UserModel = ONE_SLOT,
    reserve: float = 0.0,
    rule: FusionRule | None = None,
    relevance: ArrayLike = 1.0,
    grade: ArrayLike = 3,
    serving: ServingModel | None = None,
    seed: int = 5,
) -> Market:
    """A small market made by hand: one query comes again and again, a second apart.

    Args:
        bid: F[K] currency per click, of one ad for each of K advertisers; also what a click is worth to it.
        budget: F[K] or one for all, currency; None: no limit.
        attraction: P(click | examined) of every ad, which the platform knows.
        users: by default there is one slot, always looked at.
        reserve: least price per click.
        rule: the default is bid x pctr x relevance.
        relevance: F[K] or one for all, the platform's; `grade` I[K] or one for all, the truth.
    """
    for name, given, most in (
        ("bid", bid, 1e6),
        ("budget", 0.0 if budget is None else budget, 1e12),
        ("attraction", attraction, 1),
        ("relevance", relevance, 1),
    ):
        check_within(name, given, 0, most)
    check_within("n_queries", n_queries, 1, 1e9, whole=True)
    check_within("grade", grade, 0, 3, whole=True)
    check_within("seed", seed, 0, 2**63, whole=True)
    value = np.atleast_1d(np.asarray(bid, dtype=np.float64))
    n, shape = value.size, (1, value.size)
    return Market(
        seed=seed,
        pairs=PairTables(
            candidate=np.arange(n)[None, :],
            grade=np.broadcast_to(np.asarray(grade, dtype=np.int8), shape),
            attraction=np.full(shape, attraction),
            pctr=np.full(shape, attraction),
        ),
        relevance=np.broadcast_to(np.asarray(relevance, dtype=np.float64), shape),
        advertiser=np.arange(n),
        value=value,
        budget_micros=np.full(n, UNLIMITED) if budget is None else to_micros(np.broadcast_to(budget, n)),
        paced=np.zeros(n, dtype=np.bool_),
        arrival_s=np.arange(n_queries, dtype=np.float64),
        query=np.zeros(n_queries, dtype=np.int64),
        horizon_s=float(n_queries),
        rule=rule or Product(),
        auction=AuctionModel(reserve=reserve),
        users=users,
        bidders=BidderModel(shading=1.0, pacing_tick_s=float(n_queries)),
        serving=serving or ServingModel(),
    )


def keyword_index(
    world: "World", reach: float = 0.0, query_text: Sequence[str] | None = None
) -> KeywordIndex:
    """The bid keywords of a world, ready for its queries, or for other texts.

    Args:
        reach: how far the platform's own broad match goes, in [0, 1]; see `retrieval.expansion`.
    """
    return retrieval.build_index(
        world.keyword,
        world.keyword_ad,
        world.keyword_match,
        world.corpus.query_text if query_text is None else query_text,
        world.advertiser,
        world.negative_keywords,
        world.associations,
        reach,
        world.common_words,
    )


def retrieve_candidates(world: "World", k: int, reach: float = 0.0) -> Candidates:
    """The candidates of every query of a world, k of each at most; `reach` as in `keyword_index`."""
    return retrieval.retrieve(keyword_index(world, reach), np.arange(world.corpus.n_queries), k)


def build_market(
    world: "World",
    candidate: Candidates | int,
    relevance: RelevanceSource,
    *,
    reach: float = 0.0,
    **models: Any,
) -> Market:
    """Draw the traffic, users, values and budgets of a world; see `draw_market`.

    Args:
        candidate: the candidates of all queries; or K, and they are found batch by batch.
        reach: of retrieval where the candidates are found so; see `keyword_index`.
        models: see `draw_market`.
    """
    found: Candidates | Retrieval
    if isinstance(candidate, int):
        find = partial(retrieval.retrieve, keyword_index(world, reach), k=candidate)
        found = Retrieval(find, candidate)
    else:
        found = candidate
    return draw_market(Supply.of_world(world), found, relevance, **models)


def draw_market(
    supply: Supply,
    candidate: Candidates | Retrieval,
    relevance: RelevanceSource,
    *,
    seed: int,
    rule: FusionRule | None = None,
    traffic: TrafficModel | None = None,
    auction: AuctionModel | None = None,
    users_model: UserModel | None = None,
    bidder_model: BidderModel | None = None,
    ctr_model: CtrModel | None = None,
    serving: ServingModel | None = None,
) -> Market:
    """Draw the traffic, users, values and budgets of a supply.

    None of the draws looks at the relevance, so two markets that differ in it (or in the rule) share all the
    rest.

    Args:
        candidate: the candidates of all queries; or how they are found, and what is known of pairs is
            computed batch by batch, so that memory does not grow with the number of queries. The log is the
            same.
    """
    traffic, auction = traffic or TrafficModel(), auction or AuctionModel()
    users_model, bidder_model = users_model or UserModel(), bidder_model or BidderModel()
    n_ads, n_advertisers = supply.advertiser.size, supply.n_advertisers
    popularity = supply.query_popularity
    if isinstance(candidate, Retrieval):
        find, n_candidates = candidate
    else:
        find, n_candidates = candidate.of, candidate.ad.shape[1]

    # Users and the platform's view of them.
    appeal = random.normals(seed, "appeal", 0, 1, n_ads)[0]
    draws = PairDraws(
        seed=seed,
        n_queries=supply.n_queries,
        n_candidates=n_candidates,
        find=find,
        grade=supply.grade,
        users=users_model,
        appeal=appeal,
        ctr=ctr_model or CtrModel(),
        average=np.zeros(n_ads),
    )
    pairs: Pairs
    of_all: Iterable[Seen]
    if isinstance(candidate, Retrieval):
        draws = draws.with_average(map(draws.see, draws.chunks()), popularity)
        pairs, of_all = ComputedPairs(draws), map(draws.see, draws.chunks())
    else:
        seen = draws.see(np.arange(draws.n_queries))
        draws, of_all = draws.with_average([seen], popularity), [seen]
        pairs = PairTables(*draws.known(seen))

    # Bidders.
    value = _values(supply, bidder_model, seed)
    examined = float(np.mean(users_model.examination))
    worth = bidder_model.shading * value
    spend_if_shown = examined * draws.average * worth  # as advertisers know it, whatever is predicted
    spends = (
        (
            spend_if_shown[np.maximum(seen.candidate, 0)],
            traffic.n_queries * popularity[seen.query[:, 0]],
            seen.candidate,
            supply.advertiser[seen.candidate],
        )
        for seen in of_all
    )
    demand = bidders.demand(spends, n_advertisers, len(users_model.examination))
    budget = bidders.budgets(bidder_model, demand, random.normals(seed, "budget", 0, 1, n_advertisers)[0])
    which_policy = random.uniforms(seed, "paced", 0, 1, n_advertisers)[0]
    paced = which_policy < bidder_model.paced_share
    groups = bidders.followers(bidder_model.policies, which_policy) if bidder_model.policies else ()
    seat: IntArray | None = None
    if (seats := bidder_model.seats).policy:
        seat = seat_of(seats, random.uniforms(seed, "seats", 0, 1, n_advertisers)[0])
        groups = bidders.with_seats(seats, seat, groups or bidders.said_as_policies(bidder_model, paced))
        budget = np.where(seat > 0, (seats.budget * budget).astype(np.int64), budget)

    come, warm_up = _traffic(supply, traffic, seed), None
    if traffic.warm_up_days:
        before = _traffic(supply, replace(traffic, days=traffic.warm_up_days), warm_up_seed(seed))
        user = before.user if traffic.sessions.population else None
        warm_up = WarmUp(before.arrival_s, before.query, user, traffic.warm_up_days)

    return Market(
        seed=seed,
        pairs=pairs,
        relevance=relevance,
        advertiser=np.asarray(supply.advertiser, dtype=np.int64),
        value=value,
        budget_micros=budget,
        paced=paced,
        arrival_s=come.arrival_s,
        query=come.query,
        horizon_s=traffic.horizon_s,
        query_category=supply.query_category,
        rule=rule or Product(),
        auction=auction,
        users=users_model,
        bidders=bidder_model,
        serving=serving or ServingModel(),
        days=traffic.days,
        user=come.user if traffic.sessions.population else None,
        policies=groups,
        seat=seat,
        ctr=ctr_model or CtrModel(),
        ad_category=supply.ad_category,
        warm_up=warm_up,
        judged=supply.judged,
    )


def _values(supply: Supply, model: BidderModel, seed: int) -> FloatArray:
    """Value per click F[A]: drawn, times the supply's factor, or what stands behind a bid that is known."""
    n_ads = supply.advertiser.size
    of_category = np.zeros(n_ads)
    if supply.ad_category is not None:
        n_categories = int(supply.ad_category.max()) + 1
        of_category = random.normals(seed, "value of a category", 0, 1, n_categories)[0][supply.ad_category]
    value = bidders.values(model, of_category, random.normals(seed, "value of an ad", 0, 1, n_ads)[0])
    if supply.value_factor is not None:
        value = value * supply.value_factor
    if supply.bid is not None:
        value = np.where(np.isnan(supply.bid), value, supply.bid / model.shading)
    return value


def warm_up_seed(seed: int) -> int:
    """Decides the draws of the days before the measured ones."""
    return random.text_key(f"{seed}/warm-up")


def _traffic(supply: Supply, traffic: TrafficModel, seed: int) -> Visits:
    """Who comes when and asks what, over all days."""
    model = traffic.sessions
    rng = random.generator(seed, "arrivals")
    rate = np.asarray(traffic.shape) / np.mean(traffic.shape) * (traffic.n_queries / traffic.horizon_s)
    counts = np.full(traffic.days, traffic.n_queries)
    if not traffic.fixed_count:
        counts = rng.poisson(counts)
    widest = int(counts.max())  # one width for all days, so that the rows of two days do not overlap
    popularity, alone = supply.query_popularity, model.queries_per_session == 1.0
    days: list[Visits] = []
    n_sessions = n_queries = 0  # of the days before
    for day, expected in enumerate(counts.tolist()):
        n = expected
        if not alone:
            draws = random.uniforms(seed, "session length", n_queries, expected, 1)[:, 0]
            length = session_lengths(model, draws, expected)
            n = length.size
        start_s = arrivals.arrival_times(n, rate, traffic.horizon_s, rng)
        start_s += day * traffic.horizon_s
        which = random.uniforms(seed, "which query", day, 1, widest)[0][:n]
        first = arrivals.query_of(which, popularity)
        who = random.uniforms(seed, "user", n_sessions, n if model.population else 0, 1)[:, 0]
        if alone:
            days.append(single_visits(model, start_s, first, who))
        else:
            follow = random.uniforms(seed, "follow-up query", n_queries, expected, 2)
            intent = np.arange(supply.n_queries) if supply.intents is None else supply.intents()
            day_s = traffic.horizon_s
            days.append(visits(model, start_s, length, first, intent, popularity, day_s, follow, who))
        n_sessions, n_queries = n_sessions + n, n_queries + expected
    return days[0] if len(days) == 1 else Visits(*(np.concatenate(part) for part in zip(*days, strict=True)))


def with_relevance(market: Market, relevance: RelevanceSource) -> Market:
    """The same market, ranked by another relevance."""
    return replace(market, relevance=relevance)


def with_rule(market: Market, rule: FusionRule) -> Market:
    """The same market under another fusion rule."""
    return replace(market, rule=rule)


def with_settings(market: Market, **changes: Any) -> Market:
    """The same market with some fields replaced, such as `auction`, `serving`, or a table of its pairs.

    Its draws stay as they are. So replacing `users` or `bidders` changes what they do in the run, not the
    attraction, values and budgets drawn.
    """
    if tables := {name: changes.pop(name) for name in Known._fields if name in changes}:
        changes["pairs"] = replace(market.tables, **tables)
    return replace(market, **changes)
