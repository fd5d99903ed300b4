"""No number passes that a tool result of this turn does not hold, and harmless text passes as it is."""

import math

import pytest
from assistant.texts import ADVERSARIAL, BENIGN, NAMES, turn
from hypothesis import given
from hypothesis import strategies as st

from mltrainer.assistant import asking
from mltrainer.assistant.claims import FORMULAS, UNITS, Claim, derived
from mltrainer.assistant.grounding import Names, filled, render
from mltrainer.assistant.numerals import cleaned, numerals
from mltrainer.errors import BadInput

FALSE_ALARMS = 0.05  # of benign texts, at most


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_a_number_without_its_claim_is_withheld(text: str):
    shown = render(text, turn().claims, NAMES)
    assert shown.withheld, shown.text
    assert not numerals(shown.text, NAMES.all)


def test_the_rate_of_false_alarms_is_small_and_known():
    known = turn().claims
    alarms = [t for t in BENIGN if any(render(t, known, n).withheld for n in (NAMES, asking.names(turn())))]
    assert len(ADVERSARIAL) >= 40
    assert len(BENIGN) >= 40
    assert len(alarms) / len(BENIGN) <= FALSE_ALARMS, alarms


def test_a_figure_comes_with_unit_sign_rounding_and_day():
    known = turn().claims
    assert (
        render("AAPL had a return of {{c5}}.", known, NAMES).text
        == "AAPL had a return of −1.23 % (return over the span, as of 2013-03-01)."
    )
    assert render("AAPL closed at a price of {{c6}}.", known, NAMES).text.startswith(
        "AAPL closed at a price of $430.47 ("
    )
    assert "36.5 basis points" in render("Its break-even cost is {{c4}}.", known, NAMES).text


def test_a_figure_that_is_not_told_apart_says_what_it_is_of():
    shown = render("It is {{c1}}.", turn().claims, NAMES).text
    assert shown == "It is 0.19 (Sharpe ratio, net of costs, RidgeRegression, MSFT, as of 2013-02-21)."


def test_a_figure_says_its_metric_unless_the_sentence_does():
    known = turn().claims
    told = render("RidgeRegression has a Sharpe ratio of {{c15}} on MSFT.", known, NAMES).text
    assert "0.07 (Sharpe ratio of the timing alone," in told
    assert "(highest" not in render("The highest adjusted close of MSFT is {{c11}}.", known, NAMES).text


def test_a_derived_figure_always_says_of_what_it_is():
    known = turn().claims
    told = render("The Sharpe ratios differ by {{difference:c9,c1}}.", known, NAMES).text
    assert "LassoRegression MSFT less Sharpe ratio, net of costs RidgeRegression MSFT" in told
    for formula in ("mean", "sum", "percent_change"):
        with pytest.raises(BadInput, match="one metric and one ticker"):
            derived(formula, [known["c6"], known["c12"]])


def test_the_market_that_is_not_beaten_is_no_ticker():
    said = "RidgeRegression does not beat the market on MSFT; its hit rate is {{c3}}."
    assert not render(said, turn().claims, asking.names(turn())).withheld


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_a_number_is_withheld_with_the_names_of_a_turn_too(text: str):
    assert render(text, turn().claims, asking.names(turn())).withheld


def test_claims_of_another_turn_are_unknown():
    assert render("It is {{c1}}.", {}, NAMES).withheld[0]["why"] == "no claim of this turn is called c1"


def test_one_bad_sentence_is_withheld_and_the_others_stand():
    shown = render("The market is calm. It rose 5 %. The hit rate is {{c3}}.", turn().claims, NAMES)
    assert shown.text == "The market is calm. The hit rate is 52.8 % (RidgeRegression, MSFT, as of 2013-02-21)."
    assert len(shown.withheld) == 1


def test_each_figure_links_to_where_it_came_from_and_text_is_escaped():
    shown = render("<img src=x onerror=hit()> gives {{c1}}", turn().claims, NAMES)
    assert "<img" not in shown.html
    assert '<a class="claim" href="#claim-' in shown.html
    assert "trial 1" in shown.html


@given(st.text(max_size=80))
def test_whatever_is_written_no_digit_of_its_own_is_shown(text: str):
    shown = render(text, {}, Names())
    assert not any(c.isnumeric() for c in shown.text)
    assert cleaned(shown.text) == shown.text


@given(st.floats(-1e9, 1e9), st.sampled_from(sorted(set(UNITS) - {"date"})))
def test_a_claim_is_always_written_with_a_true_sign(value: float, unit: str):
    said = Claim("c1", value, unit, "x").text
    assert "-" not in said
    assert not said.startswith("+")
    assert any(c.isdigit() for c in said)


def test_formulas_ask_for_figures_of_one_unit():
    a, b = Claim("c1", 0.5, "fraction", "hit rate"), Claim("c2", 36.5, "basis points", "cost")
    with pytest.raises(BadInput, match="one unit"):
        derived("difference", [a, b])
    gap = derived("difference", [a, Claim("c3", 0.45, "fraction", "hit rate")])
    assert (gap.unit, gap.text) == ("percentage points", "+5.00 percentage points")
    with pytest.raises(BadInput, match="zero"):
        derived("ratio", [a, Claim("c3", 0.0, "fraction", "hit rate")])
    assert set(FORMULAS) == {"difference", "ratio", "percent_change", "sum", "mean", "share"}


def test_a_percent_change_is_that_of_the_second_on_the_first():
    was, now = Claim("c1", 80.0, "dollars", "price"), Claim("c2", 100.0, "dollars", "price")
    assert math.isclose(float(derived("percent_change", [was, now]).value), 0.25)


def test_text_of_ours_keeps_hostile_names_as_text():
    shown = filled("\x1b[2J<script>{{c1}}</script>\u202e", turn().claims)
    assert shown.text == "<script>0.19</script>"
    assert shown.html.startswith("&lt;script&gt;<a ")
