"""What each column of a table that leaves the product says, with its unit: `unit`, then the words.

Fractions are of 1, not percent; sessions are New York dates; losses are positive. NaN is where a figure is undefined.
"""

from typing import NamedTuple


class Column(NamedTuple):
    """Unit and meaning of a column."""

    unit: str
    text: str


def _table(rows: str) -> dict[str, Column]:
    lines = (line.split(" | ") for line in rows.strip().splitlines())
    return {name.strip(): Column(unit.strip(), text.strip()) for name, unit, text in lines}


FORECASTS = _table("""
y | target | the outcome: of the return that of the next entry and `horizon` sessions on
forecast | target | what the model said of it at the close of the session
expanding_mean | target | mean of the labels known at the session: the plainest forecast
fold | number | test block, from 0; the model was fitted once for each
scale | target | standard deviation of the outcome as known at the session; 1 where a target is in its own units
quantile | target | the quantile that a quantile model forecasts; no such column for others
lower | target | lower end of the prediction interval; NaN until 100 errors are known
upper | target | upper end of the prediction interval; NaN until 100 errors are known
position | fraction of wealth, -1 to 1 | held over the session, decided before it
gross | fraction per session | simple return of the position from entry to the next session's entry
net | fraction per session | the same less costs
benchmark | fraction per session | simple return of holding the share, bought once
close | price | close of the session, adjusted like the bars
baseline | target | the plain forecast that is hardest to beat, chosen with hindsight
""")
"""Columns of `Evaluation.forecasts`, a row per out-of-sample session (the index); "target" is the target's own unit."""

LEADERBOARD = _table("""
name | text | of the model
family | text | of the catalog; "own" for a registered estimator
task | text | regressor, classifier, quantile, volatility, online or series
ticker | text | what was forecast
status | text | ok, failed, timeout, memory, unavailable, diagnostic or contaminated
verdict | text | what the evidence says; of a row that did not run its status
mse | target² | mean squared error
mae | target | mean absolute error
r2 | fraction | 1 less squared errors over those of the outcomes' own mean
r2_oos | fraction | 1 less squared errors over those of the mean known at the time
mape | fraction | mean absolute error of the price forecast, of the price
ic | -1 to 1 | rank correlation of forecast and outcome
ic_t | t | HAC t statistic of the IC
hit_rate | fraction | forecasts with the sign of the outcome
sharpe | annual ratio | mean over deviation of net returns per session, times √252
deflated_sharpe | probability | that the timing's Sharpe ratio is above luck's best of all trials
sortino | annual ratio | mean of net returns over downside deviation
calmar | annual ratio | annual return over largest drawdown
max_drawdown | fraction | largest loss from a peak of net wealth, positive
value_at_risk | fraction per session | 5 % quantile of net returns as a loss, positive
expected_shortfall | fraction per session | mean loss at or beyond the value at risk, positive
profit_factor | ratio | sum of gains over sum of losses
win_rate | fraction | sessions with a gain among those with a gain or a loss
turnover | per year | position traded, in units of wealth
breakeven_bps | basis points per side | cost at which nothing would be left of the gross return
information_ratio | annual ratio | Sharpe ratio of the net return less holding's
coverage | fraction | outcomes inside the prediction interval
fit_seconds | CPU seconds | fits of all folds
predict_seconds | CPU seconds | forecasts of all folds
peak_mb | MB | largest resident memory of the process; NaN where it cannot be measured
sharpe_low | annual ratio | lower end of the 95 % interval of the Sharpe ratio
sharpe_high | annual ratio | upper end of the 95 % interval of the Sharpe ratio
hit_p | probability | that hits without timing are as many (Pesaran and Timmermann)
annual_return | fraction per year | compound growth of net wealth
pinball | target | quantile loss of a quantile model
key | text | address of the result in the ledger
reason | text | why it did not run
in_confidence_set | true or false | whether squared errors cannot tell it from the best (90 % model confidence set)
panel | text | of how many tickers the model learned; empty for one
p_knows | probability | that luck orders outcomes as well, or saves as much of the loss, among all trials
p_pays | probability | that luck times as well, among all trials
timing_sharpe | annual ratio | Sharpe ratio of the timing return: net, without the mean exposure
timing_t | t | of the timing return, by the block bootstrap
timing_luck | annual ratio | timing Sharpe ratio to expect of the best of all trials from luck alone
alpha | fraction per year | net return beyond beta times the share's
alpha_t | t | HAC t statistic of alpha
beta | ratio | slope of the net return on the share's
horizon | sessions | a forecast looks ahead, and a position is held
start | date | first out-of-sample session
end | date | last out-of-sample session
spread_ratio | ratio | deviation of the forecasts over that of the outcomes
mz_slope | ratio | slope of outcome on forecast (Mincer and Zarnowitz); 1 where the scale is right
mz_slope_se | ratio | its HAC standard error
target | text | what is forecast, a name of the table of targets
baseline | text | the plain forecast that is hardest to beat, chosen with hindsight
gain | fraction | share of that baseline's loss that the model saves; negative where it adds
gain_low | fraction | lower end of the 95 % interval of the gain
gain_high | fraction | upper end of the 95 % interval of the gain
gain_t | t | Diebold and Mariano's statistic of the losses' difference
settings | text | what differs from the default protocol and model; empty where nothing does
project | text | what the trial was first made for; empty where nothing was named
p_single | probability | of a preregistered test, of either kind, among what was tried before it was declared
""")
"""Columns of `Leaderboard.rows`, a row per model and ticker."""

FORECAST = _table("""
mean | target | the forecast, said at the close of the session (the index)
lower | target | lower end of the interval; NaN where the training had too few rows to calibrate it
upper | target | upper end of the interval
probability_up | probability | of a return above zero, calibrated; of classifiers
deviation | target | standard deviation as the method itself says it, where it says one
quantile | target | the quantile that a quantile model forecasts
""")
"""Columns of `Forecast.frame`, a row per session after the training; of a panel per session and ticker (the index)."""
