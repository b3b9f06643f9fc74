"""entrain::statistics against SciPy and statsmodels, by way of tests/e2e/statistics_dump.cpp. Closed forms agree to 1e-9, relative; where a
tolerance is looser the test says why."""

import itertools
import json
import math
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import statsmodels.stats.api as sms
from program import ENTRAIN
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint, samplesize_proportions_2indep_onetail

STATISTICS_DUMP = Path(ENTRAIN).with_name("statistics_dump")
INTERPOLATED, EXTRAPOLATED, BELOW_LADDER, UNKNOWN = range(4)
IDENTIFIED, TOO_FEW_AMOUNTS, NO_FALL, BETA_AT_BOUND, IRREDUCIBLE_AT_ZERO = range(5)


@pytest.fixture(scope="session", autouse=True)
def program():
    """These tests need neither the program nor its dump."""
    if not STATISTICS_DUMP.exists():
        pytest.exit(f"no program at {STATISTICS_DUMP}: build it, or set ENTRAIN", returncode=2)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return float(value) if value in ("inf", "-inf", "nan") else value


def ask(function, **arguments):
    convert = lambda v: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v  # noqa: E731
    request = {"function": function, **arguments}
    done = subprocess.run([STATISTICS_DUMP], input=json.dumps(request, default=convert), capture_output=True, text=True, check=True)
    answer = plain(json.loads(done.stdout))
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer


def close(value, expected, rel=1e-9, tiny=1e-300):
    np.testing.assert_allclose(np.asarray(value, float), np.asarray(expected, float), rtol=rel, atol=tiny)


def normal(seed, size, mean=0.0, sd=1.0):
    return np.random.default_rng(seed).normal(mean, sd, size)


def test_an_unknown_function_is_an_error():
    with pytest.raises(AssertionError):
        ask("no_such_function")


# -- hypothesis.h ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 10, 200, 5000])
@pytest.mark.parametrize("mean", [0.0, 0.3, -1.5, 40.0])
@pytest.mark.parametrize("confidence", [0.95, 0.99, 0.5])
def test_paired_t_test(n, mean, confidence):
    b = normal(1, n, 3)
    a = b + normal(2, n, mean)
    ours = ask("paired_t_test", differences=a - b, confidence=confidence)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paired = scipy.stats.ttest_rel(a, b)
    single = scipy.stats.ttest_1samp(a - b, 0)
    interval = single.confidence_interval(confidence)
    close(ours["t"], paired.statistic, rel=1e-9)
    close(ours["p"], single.pvalue, rel=1e-9)
    close(ours["p"], paired.pvalue, rel=1e-9)
    close(ours["mean"], [np.mean(a - b), interval.low, interval.high], rel=1e-9, tiny=1e-12)
    close([ours["sd"], ours["degrees"]], [np.std(a - b, ddof=1), n - 1])


def test_paired_t_test_where_scipy_has_nan():
    assert ask("paired_t_test", differences=[2.5], confidence=0.95) == {"mean": [2.5, -math.inf, math.inf], "sd": 0, "t": 0, "degrees": 0, "p": 1}
    assert ask("paired_t_test", differences=[0, 0, 0], confidence=0.95) == {"mean": [0, 0, 0], "sd": 0, "t": 0, "degrees": 2, "p": 1}
    assert ask("paired_t_test", differences=[0.1] * 3, confidence=0.95) == {"mean": [0.1] * 3, "sd": 0, "t": math.inf, "degrees": 2, "p": 0}


@pytest.mark.parametrize("differences", [
    normal(4, 2, 1), normal(5, 5, 2), normal(6, 5, -0.3), normal(7, 9, 0.7), normal(8, 12, 0.8),
    np.array([1.0, -1.0, 2.0, -2.0]), np.array([0.1, 0.2, -0.3]), np.array([0.3, 0.3, -0.1, -0.2, 0.1]), np.array([0.0, 0.0, 1.0, 2.0]), np.full(8, 0.1),
], ids=str)
def test_sign_flip_exact(differences):
    ours = ask("sign_flip_test", differences=differences, n_resamples=1)
    reference = scipy.stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    close(ours["p"], reference.pvalue)
    close(ours["mean"], reference.statistic, rel=1e-9, tiny=1e-15)
    assert ours["exact"]
    close(ours["smallest_p"], 2.0 ** (1 - len(differences)))


def test_sign_flip_twenty():
    """The largest that is enumerated; NumPy's own million signs, as SciPy's take long."""
    differences = normal(9, 20, 0.45)
    signs = 1.0 - 2.0 * (np.arange(1 << 20)[:, None] >> np.arange(20) & 1).astype(np.int8)
    sums = np.abs(signs @ differences)
    ours = ask("sign_flip_test", differences=differences, n_resamples=1)
    close(ours["p"], np.mean(sums >= abs(differences.sum()) * (1 - 1e-12)))
    assert ours["exact"] and ours["smallest_p"] == 2.0**-19
    alone = ask("sign_flip_test", differences=[2.0], n_resamples=1)  # SciPy refuses one difference
    assert alone["p"] == alone["smallest_p"] == 1


def test_sign_flip_beyond_enumeration():
    """Two Monte Carlo estimates of one p: five standard deviations of their difference."""
    differences = normal(10, 40, 0.3)
    ours = ask("sign_flip_test", differences=differences, n_resamples=50000)
    reference = scipy.stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=50000, vectorized=True, batch=1000, rng=np.random.default_rng(1))
    assert not ours["exact"]
    assert ours["smallest_p"] == 1 / 50001
    assert abs(ours["p"] - reference.pvalue) < 5 * math.sqrt(2 * reference.pvalue / 50000), (ours, reference.pvalue)


@pytest.mark.parametrize("only_a,only_b", [(0, 0), (0, 1), (1, 0), (3, 3), (2, 9), (9, 2), (40, 61), (300, 201), (5000, 5300), (0, 60)])
def test_mcnemar(only_a, only_b):
    close(ask("mcnemar_exact", only_a=only_a, only_b=only_b), mcnemar([[10, only_a], [only_b, 10]], exact=True).pvalue)


@pytest.mark.parametrize("n,probability", [(1, 0.5), (7, 0.5), (10, 0.3), (27, 1 / 3), (40, 0.01), (40, 0.97), (5, 0.9)])
def test_binomial_all_outcomes(n, probability):
    for successes in range(n + 1):
        close(ask("binomial_test", successes=successes, n=n, probability=probability), scipy.stats.binomtest(successes, n, probability).pvalue)


@pytest.mark.parametrize("successes,n,probability", [
    (0, 5, 0.0), (2, 5, 0.0), (5, 5, 1.0), (4, 5, 1.0), (5100, 10000, 0.5), (4900, 10000, 0.5), (260, 1000, 0.25), (333, 999, 1 / 3), (70, 100000, 0.001), (500500, 1000000, 0.5),
])
def test_binomial(successes, n, probability):
    close(ask("binomial_test", successes=successes, n=n, probability=probability), scipy.stats.binomtest(successes, n, probability).pvalue)
    assert ask("binomial_test", successes=0, n=0, probability=0.5) == 1


@pytest.mark.parametrize("successes,n", [(0, 1), (1, 1), (0, 30), (30, 30), (7, 30), (8, 10), (1234, 10042), (999999, 1000000)])
@pytest.mark.parametrize("confidence", [0.95, 0.9, 0.999])
def test_wilson(successes, n, confidence):
    """Near 0 and 1 both formulas subtract nearly equal numbers of order 1: 1e-13 absolute beside the relative tolerance."""
    ours = ask("wilson_interval", successes=successes, n=n, confidence=confidence)
    close(ours, [successes / n, *proportion_confint(successes, n, 1 - confidence, method="wilson")], tiny=1e-13)
    scipys = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    close(ours[1:], [scipys.low, scipys.high], tiny=1e-13)


@pytest.mark.parametrize("p", [[0.2], [0.01, 0.04, 0.03, 0.005], [1, 1, 0.5], [0, 0, 0.01], [0.02, 0.02, 0.02, 0.9], [0.6, 0.7], list(np.random.default_rng(1).uniform(0, 0.2, 37))], ids=str)
def test_adjusted_p_values(p):
    close(ask("holm", p=p), multipletests(p, method="holm")[1])
    close(ask("benjamini_hochberg", p=p), multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("n", [2, 6, 50])
@pytest.mark.parametrize("mean,low,high", [(0.0, -0.5, 0.5), (0.4, -0.5, 0.5), (0.8, -0.5, 0.5), (-0.2, -1, 0.3), (3, -1, 1)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_equivalence(n, mean, low, high, alpha):
    b = normal(11, n)
    a = b + normal(12, n, mean, 0.5)
    ours = ask("equivalence_test", differences=a - b, low=low, high=high, alpha=alpha)
    p, lower, upper = sms.ttost_paired(a, b, low, high)
    close([ours["p"], ours["p_low"], ours["p_high"]], [p, lower[1], upper[1]])
    interval = scipy.stats.ttest_1samp(a - b, 0).confidence_interval(1 - 2 * alpha)
    close(ours["mean"], [np.mean(a - b), interval.low, interval.high], tiny=1e-12)


@pytest.mark.parametrize("x,y", [
    (normal(13, 8), normal(14, 8)), (normal(15, 300), normal(15, 300) + normal(16, 300)), (np.arange(12.0), -np.arange(12.0) ** 3), ([1, 1, 2, 3, 3, 3], [2, 1, 1, 5, 4, 4]),
    ([1, 2, 3], [1, 3, 2]), (np.random.default_rng(2).integers(0, 4, 100), np.random.default_rng(3).integers(0, 4, 100)),
], ids=lambda v: f"{len(v)}")
def test_spearman(x, y):
    reference = scipy.stats.spearmanr(x, y)
    close(ask("spearman", x=list(map(float, x)), y=list(map(float, y))), [reference.statistic, reference.pvalue], tiny=1e-15)


def test_spearman_where_scipy_has_nan():
    assert ask("spearman", x=[1, 1, 1], y=[1, 2, 3]) == [0, 1]
    assert ask("spearman", x=[1, 2], y=[1, 2]) == [0, 1]


# -- power.h -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 10, 80, 5000])
@pytest.mark.parametrize("effect", [0.0, 0.01, 0.3, -1.0, 2.5])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_paired_t_power(n, effect, alpha):
    """SciPy's noncentral t fails (NaN) in a far tail that is 0 beside the other: its lower tail is left out there."""
    ours = ask("paired_t_power", effect=0.7 * effect, sd=0.7, n=n, alpha=alpha)
    shift, critical = abs(effect) * math.sqrt(n), scipy.stats.t.isf(alpha / 2, n - 1)
    tail = scipy.stats.nct.cdf(-critical, n - 1, shift)
    close(ours, scipy.stats.nct.sf(critical, n - 1, shift) + (0 if math.isnan(tail) else tail))
    if not math.isnan(tail):
        close(ours, TTestPower().power(abs(effect), n, alpha, alternative="two-sided"))


@pytest.mark.parametrize("effect", [0.05, 0.2, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("alpha,power", [(0.05, 0.8), (0.01, 0.9)])
def test_paired_t_pairs(effect, alpha, power):
    ours = ask("paired_t_pairs", effect=effect, sd=1, alpha=alpha, power=power)
    assert ours == max(2, math.ceil(TTestPower().solve_power(effect, None, alpha, power)))
    detectable = ask("paired_t_detectable_effect", sd=1, n=ours, alpha=alpha, power=power)
    # statsmodels stops its search near 1e-6; the power at our answer is what counts, and is exact.
    close(detectable, TTestPower().solve_power(None, ours, alpha, power), rel=1e-5)
    close(TTestPower().power(detectable, ours, alpha), power)


@pytest.mark.parametrize("alpha,power", [(0.05, 0.8), (0.01, 0.95)])
def test_sample_sizes(alpha, power):
    z_alpha, z_power = scipy.stats.norm.isf(alpha / 2), scipy.stats.norm.ppf(power)
    for difference, discordance in [(0.02, 0.06), (0.01, 0.04), (0.01, 0.06), (0.005, 0.03), (-0.05, 0.05), (0.3, 1.0)]:
        expected = (z_alpha * math.sqrt(discordance) + z_power * math.sqrt(discordance - difference**2)) ** 2 / difference**2
        assert ask("mcnemar_items", difference=difference, discordance=discordance, alpha=alpha, power=power) == math.ceil(expected)
    for difference, sd in [(0.1, 1), (-0.01, 0.3), (5, 1)]:
        assert ask("paired_mean_items", difference=difference, sd=sd, alpha=alpha, power=power) == math.ceil(((z_alpha + z_power) * sd / difference) ** 2)
    for proportion, n in [(0.25, 14042), (0.02, 1319), (0.6, 396)]:
        detectable = ask("proportion_detectable_difference", proportion=proportion, n=n, correlation=0, alpha=alpha, power=power)
        # statsmodels also takes the changed proportion's own variance into account: at a difference of 0 it is the same formula.
        scale = 1e-6
        n_at = samplesize_proportions_2indep_onetail(scale, proportion, power, alpha=alpha)
        close(detectable, scale * math.sqrt(n_at / n), rel=1e-4)
        paired = ask("proportion_detectable_difference", proportion=proportion, n=n, correlation=0.8, alpha=alpha, power=power)
        close(paired, detectable * math.sqrt(0.2))


def test_mcnemar_items_have_the_power():
    """The formula's sample size gives the exact test some 80 %: it is a normal approximation of a discrete test, here to 2 points."""
    n, difference, discordance = 1175, 0.02, 0.06
    assert ask("mcnemar_items", difference=difference, discordance=discordance, alpha=0.05, power=0.8) == n
    power, share = 0.0, (discordance + difference) / 2 / discordance
    for discordant in range(20, 140):
        counts = np.arange(discordant + 1)
        rejected = 2 * scipy.stats.binom.cdf(np.minimum(counts, discordant - counts), discordant, 0.5) <= 0.05
        power += scipy.stats.binom.pmf(discordant, n, discordance) * scipy.stats.binom.pmf(counts, discordant, share)[rejected].sum()
    assert 0.76 < power < 0.82


# -- resampling.h ------------------------------------------------------------------------------------------------------


def units_of(seed, n, shift=0.1):
    rng = np.random.default_rng(seed)
    weight = rng.integers(50, 150, n).astype(float)
    b = weight * rng.normal(3, 1, n)
    return np.stack([b + weight * rng.normal(shift, 0.3, n), b, weight], 1)


@pytest.mark.parametrize("n", [5, 40, 300])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_paired_bootstrap(n, confidence):
    """Limits of 40,000 resamples each: a quantile q is known to sqrt(q (1 - q) / 40000) / density, which is 1.4 % of the half width at the
    normal density for q = 0.025 and less further in; five times sqrt(2) of it is 7 %, 10 % where few units make the law lumpy."""
    units = units_of(20, n)
    ours = ask("paired_bootstrap", units=units, n_resamples=40000, confidence=confidence)
    ratio = lambda a, b, w, axis=-1: (np.sum(a, axis) - np.sum(b, axis)) / np.sum(w, axis)  # noqa: E731
    reference = scipy.stats.bootstrap(tuple(units.T), ratio, paired=True, method="percentile", confidence_level=confidence, n_resamples=40000, batch=2000, rng=np.random.default_rng(1))
    low, high = reference.confidence_interval
    close(ours[0], ratio(*units.T))
    assert np.abs(np.subtract(ours[1:], [low, high])).max() < (0.1 if n < 10 else 0.07) * (high - low) / 2


def test_nested_bootstrap():
    """Against the same scheme drawn with NumPy; the tolerance as above."""
    n_seeds, n_units = 5, 30
    rng = np.random.default_rng(21)
    units = np.stack([units_of(22, n_units)] * n_seeds)
    units[:, :, 0] += units[:, :, 2] * (rng.normal(0, 0.1, (n_seeds, 1)) + rng.normal(0, 0.1, (n_seeds, n_units)))
    ours = ask("nested_bootstrap", units=units, n_resamples=40000, confidence=0.95)
    differences, weights = units[:, :, 0] - units[:, :, 1], units[0, :, 2]
    draws = []
    for _ in range(40000):
        seeds, chosen = rng.integers(0, n_seeds, n_seeds), rng.integers(0, n_units, n_units)
        draws.append(differences[seeds].sum(0)[chosen].sum() / (n_seeds * weights[chosen].sum()))
    low, high = np.percentile(draws, [2.5, 97.5])
    close(ours[0], differences.sum() / (n_seeds * weights.sum()))
    assert np.abs(np.subtract(ours[1:], [low, high])).max() < 0.07 * (high - low) / 2
    one = np.percentile([differences[0][c].sum() / weights[c].sum() for c in rng.integers(0, n_units, (40000, n_units))], [2.5, 97.5])
    alone = ask("nested_bootstrap", units=units[:1], n_resamples=40000, confidence=0.95)
    assert np.abs(np.subtract(alone[1:], one)).max() < 0.07 * (one[1] - one[0]) / 2


def test_percentiles_are_numpys():
    """Two units have three means, so both limits are known but for the chances 1/4, 1/2, 1/4: quantiles 0.3 and 0.7 are the mixed draw."""
    units = [[10, 4, 2], [3, 5, 8]]
    assert ask("paired_bootstrap", units=units, n_resamples=5000, confidence=0.4) == [0.4, 0.4, 0.4]
    assert ask("paired_bootstrap", units=units, n_resamples=5000, confidence=0.6) == [0.4, -0.25, 3]


# -- scaling.h, joint_fit.h --------------------------------------------------------------------------------------------


def noisy_points(seed, n_seeds=3, noise=0.02, amounts=(1.0, 2.0, 4.0, 8.0, 16.0), irreducible=1.5, coefficients=(2.0, 1.6), beta=0.35):
    rng = np.random.default_rng(seed)
    return [[arm, amount, irreducible + b * amount**-beta + rng.normal(0, noise), s] for s in range(n_seeds) for arm, b in enumerate(coefficients) for amount in amounts]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_amount_for_loss(seed, noise):
    """SciPy's isotonic regression, then the inverse of the curve by bisection."""
    points = noisy_points(seed, noise=noise, coefficients=(2.0,))[:-2]  # unequal numbers of runs
    amounts = np.unique([p[1] for p in points])
    losses = [[p[2] for p in points if p[1] == amount] for amount in amounts]
    curve = scipy.optimize.isotonic_regression([np.mean(x) for x in losses], weights=[len(x) for x in losses], increasing=False).x
    falling = [i for i in range(1, len(curve)) if curve[i] < curve[i - 1]]
    for loss in [curve[0] + 0.1, *np.linspace(curve[0] - 1e-9, curve[-1] + 1e-9, 9), *(curve[-1] - np.array([0.02, 0.2]))]:
        ours = ask("amount_for_loss", points=points, loss=loss)
        if loss > curve[0]:
            assert (ours["kind"], ours["amount"]) == (BELOW_LADDER, amounts[0])
        elif not falling:
            assert (ours["kind"], ours["amount"]) == (UNKNOWN, 0)
        elif loss < curve[-1]:
            i = falling[-1]
            slope = (curve[i] - curve[i - 1]) / math.log(amounts[i] / amounts[i - 1])
            assert ours["kind"] == EXTRAPOLATED
            close(ours["amount"], amounts[-1] * math.exp((loss - curve[-1]) / slope))
        else:
            assert ours["kind"] == INTERPOLATED
            at = lambda x: np.interp(x, np.log(amounts), curve) - loss  # noqa: E731
            close(ours["amount"], math.exp(scipy.optimize.brentq(at, 0, math.log(amounts[-1]), xtol=1e-14, rtol=1e-14)), rel=1e-8)


@pytest.mark.parametrize("paired", [True, False])
def test_iso_loss_ratio(paired):
    """The whole scheme again in NumPy. 4,000 against 4,000 resamples of four runs: limits to 15 % of the half width."""
    points = noisy_points(5, n_seeds=4, noise=0.03)
    if not paired:
        points = [[arm, amount, loss, seed + 10 * arm] for arm, amount, loss, seed in points]
    ours = ask("iso_loss_ratio", points=points, reference=0, arm=1, n_resamples=4000, confidence=0.9)
    amounts = np.unique([p[1] for p in points])
    runs = np.array([[[p[2] for p in points if p[0] == arm and p[1] == amount] for amount in amounts] for arm in (0, 1)])

    def needed(means, loss):
        curve = scipy.optimize.isotonic_regression(means, increasing=False).x
        if loss > curve[0]:
            return amounts[0]
        i = next((i for i in range(1, len(curve)) if loss >= curve[i]), None)
        anchor = i if i is not None else len(curve) - 1
        i = i if i is not None else max(j for j in range(1, len(curve)) if curve[j] < curve[j - 1])
        slope = (curve[i] - curve[i - 1]) / math.log(amounts[i] / amounts[i - 1])
        return amounts[anchor] * math.exp((loss - curve[anchor]) / slope)

    rng = np.random.default_rng(6)
    draws = []
    for _ in range(4000):
        a = rng.integers(0, 4, 4)
        b = a if paired else rng.integers(0, 4, 4)
        means = runs[0][:, a].mean(1), runs[1][:, b].mean(1)
        draws.append([needed(means[0], loss) / amount for loss, amount in zip(means[1], amounts)])
    low, high = np.percentile(draws, [5, 95], axis=0)
    assert not ours["single_runs"]
    for i, rung in enumerate(ours["rungs"]):
        assert (rung["amount"], rung["kind"]) == (amounts[i], EXTRAPOLATED if runs[1][i].mean() < runs[0][-1].mean() else INTERPOLATED)
        close(rung["ratio"][0], needed(runs[0].mean(1), runs[1][i].mean()) / amounts[i], rel=1e-9)
        assert np.abs(np.subtract(rung["ratio"][1:], [low[i], high[i]])).max() < 0.15 * (high[i] - low[i]) / 2, i


def reference_fit(points, n_arms):
    """The best of scipy.optimize.least_squares from several starts, E and B non-negative and beta within the same bounds."""
    arm, amount, loss = (np.array([p[i] for p in points]) for i in range(3))
    arm = arm.astype(int)
    residuals = lambda x: x[0] + x[2:][arm] * amount ** -x[1] - loss  # noqa: E731
    bounds = ([0, 0.01, *[0] * n_arms], [np.inf, 3.0, *[np.inf] * n_arms])
    fits = [scipy.optimize.least_squares(residuals, [e, beta, *[1.0] * n_arms], bounds=bounds, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=5000) for e, beta in itertools.product((0.1, 1.0), (0.1, 0.4, 1.0))]
    return min(fits, key=lambda fit: fit.cost)


@pytest.mark.parametrize("arms", [(2.0,), (2.0, 1.6), (2.0, 1.6, 2.4)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fit_joint(arms, seed):
    """least_squares stops where the squares no longer change, which knows parameters to some 1e-7; the squares agree to 1e-9 and ours are
    not larger."""
    points = noisy_points(seed, noise=0.01, coefficients=arms)[:-1]
    ours, reference = ask("fit_joint", points=points, n_arms=len(arms)), reference_fit(points, len(arms))
    assert ours["problem"] == IDENTIFIED
    close([ours["irreducible"], ours["beta"], *ours["coefficients"]], reference.x, rel=2e-5)
    squares = ours["rmse"] ** 2 * len(points)
    close(squares, 2 * reference.cost)
    assert squares <= 2 * reference.cost * (1 + 1e-12)


def test_fit_joint_against_curve_fit():
    """Unbounded Levenberg-Marquardt where the bounds do not bind, started at the answer: the same to 1e-7."""
    points = np.array(noisy_points(7, noise=0.005))
    ours = ask("fit_joint", points=[[int(a), d, x, int(s)] for a, d, x, s in points], n_arms=2)
    law = lambda x, e, beta, b0, b1: e + np.where(x[0] == 0, b0, b1) * x[1] ** -beta  # noqa: E731
    answer = [ours["irreducible"], ours["beta"], *ours["coefficients"]]
    found, _ = scipy.optimize.curve_fit(law, points[:, :2].T, points[:, 2], p0=[1, 0.5, 1, 1], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    close(answer, found, rel=1e-6)
    gradient = scipy.optimize.approx_fprime(answer, lambda x: np.sum((law(points[:, :2].T, *x) - points[:, 2]) ** 2), 1e-7)
    assert np.abs(gradient).max() < 1e-5


def test_fit_joint_at_its_bounds():
    line = [[0, d, 3 - 0.1 * math.log(d), 1] for d in (1.0, 2.0, 4.0, 8.0)]
    ours, reference = ask("fit_joint", points=line, n_arms=1), reference_fit(line, 1)
    assert ours["problem"] == IRREDUCIBLE_AT_ZERO and ours["irreducible"] == 0
    close(ours["rmse"] ** 2 * 4, 2 * reference.cost, rel=1e-6)
    steep = [[0, d, 1 + 2 * d**-3.5, 1] for d in (1.0, 2.0, 4.0, 8.0)]
    ours, reference = ask("fit_joint", points=steep, n_arms=1), reference_fit(steep, 1)
    assert ours["problem"] == BETA_AT_BOUND
    close([ours["beta"], ours["irreducible"], *ours["coefficients"]], [3.0, reference.x[0], reference.x[2]], rel=1e-5)
    rising = [[arm, d, 1 + 0.1 * d if arm else 1 + 2 * d**-0.5, 1] for arm in (0, 1) for d in (1.0, 2.0, 4.0, 8.0)]
    ours, reference = ask("fit_joint", points=rising, n_arms=2), reference_fit(rising, 2)
    assert ours["problem"] == NO_FALL and ours["coefficients"][1] == 0
    close(ours["rmse"] ** 2 * 8, 2 * reference.cost, rel=1e-6)
    assert ask("fit_joint", points=line[:2], n_arms=1)["problem"] == TOO_FEW_AMOUNTS


def test_fit_joint_chinchilla():
    """Published constants at a fixed model size: E + A / N^a = 1.69 + 406.4 / (1e8)^0.34, B = 410.7, beta = 0.28, and an arm worth 2.5 times the data."""
    irreducible = 1.69 + 406.4 / 1e8**0.34
    points = [[arm, d, irreducible + 410.7 * (d * (2.5 if arm else 1)) ** -0.28, 1] for arm in (0, 1) for d in (4e8, 1e9, 4e9, 1e10)]
    answer = ask("bootstrap_joint", points=points, n_arms=2, reference=0, n_resamples=10, confidence=0.95)
    close([answer["fit"]["irreducible"], answer["fit"]["beta"], answer["fit"]["coefficients"][0]], [irreducible, 0.28, 410.7], rel=1e-8)
    close(answer["multipliers"][1], [2.5] * 3, rel=1e-6)
    assert answer["single_runs"]


def test_bootstrap_joint():
    """All ways to draw three of three seeds are ten weights, each drawn set fitted by SciPy: exact quantiles, but for the chances' own
    noise, so ours must lie between neighbours."""
    points = noisy_points(8, n_seeds=3, noise=0.01)
    answer = ask("bootstrap_joint", points=points, n_arms=2, reference=0, n_resamples=4000, confidence=0.9)
    by_seed = [[p for p in points if p[3] == s] for s in range(3)]
    found = []
    for drawn in itertools.combinations_with_replacement(range(3), 3):
        e, beta, b0, b1 = reference_fit([p for s in drawn for p in by_seed[s]], 2).x
        chance = math.factorial(3) / math.prod(math.factorial(drawn.count(s)) for s in range(3)) / 27
        found.append([chance, (b1 / b0) ** (-1 / beta), beta, e])
    found = np.array(found)
    for column, (estimate, low, high) in zip((1, 2, 3), (answer["multipliers"][1], answer["beta"], answer["irreducible"])):
        order = np.argsort(found[:, column])
        values, cumulative = found[order, column], np.cumsum(found[order, 0])
        for limit, q in ((low, 0.05), (high, 0.95)):
            allowed = values[np.searchsorted(cumulative, [q - 0.015, q + 0.015])]  # four standard deviations of a share of 4,000
            assert allowed[0] * (1 - 1e-4) <= limit <= allowed[1] * (1 + 1e-4), (column, limit, allowed)
    close(answer["multipliers"][0], [1, 1, 1])
    assert answer["share_unidentified"] == 0 and not answer["single_runs"]
