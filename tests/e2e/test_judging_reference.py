"""What judges confidences, ranks and shares against scikit-learn, SciPy and statsmodels, by way of tests/e2e/statistics_dump.cpp. As in
test_statistics_reference.py closed forms agree to 1e-9, relative; where a tolerance is looser the test says why."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
import sklearn.calibration
import sklearn.metrics
import statsmodels.api as sm
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multivariate import test_mvmean as mvmean  # its name would make pytest run it
from test_statistics_reference import ask, close, program  # noqa: F401

PEARSON, SPEARMAN, KENDALL = range(3)


def judged(seed, n, strength=1.0, levels=None, rate=0.7):
    """Probabilities and labels; with few levels the probabilities tie."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < rate).astype(int)
    scores = 1 / (1 + np.exp(-(rng.normal(0, 1, n) + strength * (labels - 0.5))))
    return (np.floor(scores * levels) / levels if levels else scores), labels


def loops(scores, labels):
    """The AUROC matrix: 1, 1/2 or 0 for each positive and negative."""
    return (np.sign(scores[labels == 1][:, None] - scores[labels == 0][None]) + 1) / 2


# -- auroc.h -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [None, 20, 3])
@pytest.mark.parametrize("n", [12, 200, 3000])
@pytest.mark.parametrize("strength", [-0.5, 0, 1.5])
def test_auroc(n, levels, strength):
    scores, labels = judged(n, n, strength, levels)
    ours = ask("auroc", scores=scores, labels=labels, confidence=0.9)
    wins = loops(scores, labels)
    positives, negatives = wins.shape
    # DeLong's components straight from the definition.
    se = math.sqrt(wins.mean(1).var(ddof=1) / positives + wins.mean(0).var(ddof=1) / negatives)
    area = sklearn.metrics.roc_auc_score(labels, scores)
    half = scipy.stats.norm.ppf(0.95) * se / (area * (1 - area))
    close(ours["auroc"][0], area)
    close(ours["auroc"][0], scipy.stats.mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic / wins.size)
    close(ours["se"], se)
    close(ours["auroc"][1:], scipy.special.expit(scipy.special.logit(area) + np.array([-half, half])))
    assert ours["n"] == [positives, negatives]


def test_auroc_of_separated_classes():
    """The lower limit solves 1 - theta = z sqrt(V(theta)) with Hanley and McNeil's variance."""
    ours = ask("auroc", scores=np.arange(30.0), labels=[0] * 18 + [1] * 12, confidence=0.95)
    variance = lambda a: (a * (1 - a) + 11 * (a / (2 - a) - a * a) + 17 * (2 * a * a / (1 + a) - a * a)) / (12 * 18)  # noqa: E731
    low = scipy.optimize.brentq(lambda a: 1 - a - scipy.stats.norm.ppf(0.975) * math.sqrt(variance(a)), 0.1, 1 - 1e-9, xtol=1e-15)
    close(ours["auroc"], [1, low, 1])


def test_stratified_auroc():
    """Weighted mean of scikit-learn's; the interval against NumPy's own bootstrap, 3,000 draws each: limits to 15 % of the half width."""
    scores, labels = judged(4, 300, 0.8, 30)
    strata = np.random.default_rng(5).integers(0, 6, 300)
    labels[strata == 5] = 1
    ours = ask("stratified_auroc", scores=scores, labels=labels, strata=strata, n_resamples=3000, confidence=0.9)

    def area(items):
        total, pairs = 0.0, 0
        for s in range(5):
            here = items[strata[items] == s]
            wins = loops(scores[here], labels[here])
            total, pairs = total + wins.sum(), pairs + wins.size
        return total / pairs, pairs

    expected, pairs = area(np.arange(300))
    weights = [np.prod(np.bincount(labels[strata == s], minlength=2)) for s in range(5)]
    close(expected, np.average([sklearn.metrics.roc_auc_score(labels[strata == s], scores[strata == s]) for s in range(5)], weights=weights))
    close(ours["auroc"][0], expected)
    assert ours["n"] == [pairs, 5, 1]
    rng = np.random.default_rng(6)
    groups = [np.flatnonzero(strata == s) for s in range(5)]
    draws = [area(np.concatenate([rng.choice(g, len(g)) for g in groups]))[0] for _ in range(3000)]
    low, high = np.percentile(draws, [5, 95])
    assert np.abs(np.subtract(ours["auroc"][1:], [low, high])).max() < 0.15 * (high - low) / 2


def test_delta_auroc():
    """DeLong's paired variance, from the definition: for 800 items the bootstrap's limits lie within 15 % of the half width of its own."""
    rng = np.random.default_rng(7)
    labels = (rng.random(800) < 0.6).astype(int)
    shared = rng.normal(0, 1, 800)
    a, b = shared + 1.4 * labels + rng.normal(0, 0.5, 800), shared + 1.0 * labels + rng.normal(0, 0.5, 800)
    ours = ask("delta_auroc", a=a, b=b, labels=labels, strata=[], n_resamples=3000, confidence=0.9)
    wins = loops(a, labels) - loops(b, labels)
    se = math.sqrt(wins.mean(1).var(ddof=1) / wins.shape[0] + wins.mean(0).var(ddof=1) / wins.shape[1])
    close(ours["difference"][0], wins.mean())
    close([ours["a"], ours["b"]], [sklearn.metrics.roc_auc_score(labels, a), sklearn.metrics.roc_auc_score(labels, b)])
    half = scipy.stats.norm.ppf(0.95) * se
    assert np.abs(np.subtract(ours["difference"][1:], [wins.mean() - half, wins.mean() + half])).max() < 0.15 * half


# -- selective.h -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [30, 1500, 15000])
def test_calibration(n):
    """Distinct probabilities and n divisible by 15: the bins are np.array_split's, so also those of scikit-learn's quantiles."""
    scores, labels = judged(n, n)
    order = np.argsort(scores)
    bins = [(scores[i], labels[i]) for i in np.array_split(order, 15)]
    close(ask("brier", scores=scores, labels=labels), sklearn.metrics.brier_score_loss(labels, scores))
    ours = ask("reliability_bins", scores=scores, labels=labels, n_bins=15)
    close(ours, [[len(y), y.sum(), s.mean()] for s, y in bins])
    if n == 1500:
        accuracy, confidence = sklearn.calibration.calibration_curve(labels, scores, n_bins=15, strategy="quantile")
        close([b[1] / b[0] for b in ours], accuracy)
        close([b[2] for b in ours], confidence)
    distance = np.array([s.mean() - y.mean() for s, y in bins])
    spread = np.array([y.var() for _, y in bins])
    ece, corrected, squared, rms = ask("calibration_error", scores=scores, labels=labels, n_bins=15)
    close(ece, np.abs(distance).mean())
    close(squared, np.mean(distance**2 - spread / (n // 15 - 1)), tiny=1e-15)
    close(rms, math.sqrt(max(0, squared)))
    sd = np.sqrt(spread / (n // 15))
    folded = [scipy.stats.foldnorm(abs(d) / s, scale=s).mean() if s else abs(d) for d, s in zip(distance, sd)]
    close(corrected, 2 * ece - np.mean(folded), tiny=1e-15)


@pytest.mark.parametrize("levels", [None, 10, 1])
@pytest.mark.parametrize("n", [7, 400])
def test_risk_coverage(n, levels):
    """Random orders of tied items: the mean over 4,000 orders knows the expectation to 4 standard errors."""
    scores, labels = judged(n + 1, n, 1.0, levels)
    error = 1 - labels.mean()
    for coverage in (0.05, 0.8, 1.0):
        aurc, augrc, accuracy = ask("selective", scores=scores, labels=labels, coverage=coverage)
        wins = loops(scores, labels)
        close(augrc, (1 - wins.mean()) * error * (1 - error) + error**2 / 2)
        # The curve again, over thresholds.
        thresholds = np.unique(scores)[::-1]
        answered = np.array([(scores >= t).mean() for t in thresholds])
        risk = np.array([1 - labels[scores >= t].mean() for t in thresholds])
        close(aurc, np.trapezoid(np.r_[risk[0], risk], np.r_[0, answered]), tiny=1e-15)
        close(augrc, np.trapezoid(np.r_[0, risk * answered], np.r_[0, answered]), tiny=1e-15)
        if levels is None and abs(coverage * n - round(coverage * n)) < 1e-9:
            close(accuracy, labels[np.argsort(-scores)][: round(coverage * n)].mean())
        wrong = np.interp(coverage, np.r_[0, answered], np.r_[0, risk * answered])
        close(accuracy, 1 - wrong / coverage, tiny=1e-12)


# -- rank.h ------------------------------------------------------------------------------------------------------------


def ranked(seed, n, levels):
    rng = np.random.default_rng(seed)
    given = rng.normal(0, 1, n)
    x, y = given + rng.normal(0, 1, n), 0.7 * given + rng.normal(0, 1, n)
    return [np.floor(v * levels) if levels else v for v in (x, y, given)]


@pytest.mark.parametrize("levels", [None, 3, 1])
@pytest.mark.parametrize("n", [5, 40, 2000])
def test_kendall(n, levels):
    x, y, _ = ranked(n, n, levels)
    reference = scipy.stats.kendalltau(x, y, method="asymptotic")
    close(ask("kendall_tau_b", x=x, y=y), [reference.statistic, reference.pvalue], tiny=1e-14)


@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("n", [6, 50, 1500])
def test_spearman_and_partial(n, levels):
    x, y, given = ranked(n + 7, n, levels)
    rho = scipy.stats.spearmanr(x, y).statistic
    half = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    close(ask("spearman_interval", x=x, y=y, confidence=0.95), [rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)])
    # Residuals of the ranks on the third variable's ranks; a regression's own t-test has the same p.
    ranks = [scipy.stats.rankdata(v) for v in (x, y, given)]
    left = [r - np.polyval(np.polyfit(ranks[2], r, 1), ranks[2]) for r in ranks[:2]]
    partial = np.corrcoef(*left)[0, 1]
    ours = ask("partial_spearman", x=x, y=y, given=given, confidence=0.95)
    half = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + partial**2 / 2) / (n - 4))
    close(ours["rho"], [partial, math.tanh(math.atanh(partial) - half), math.tanh(math.atanh(partial) + half)], tiny=1e-12)
    close(ours["p"], sm.OLS(ranks[1], sm.add_constant(np.column_stack([ranks[0], ranks[2]]))).fit().pvalues[1], rel=1e-8)


@pytest.mark.parametrize("kind,variance", [(PEARSON, lambda r, n: 1 / (n - 3)), (SPEARMAN, lambda r, n: (1 + r * r / 2) / (n - 3)), (KENDALL, lambda r, n: 0.437 / (n - 4))])
@pytest.mark.parametrize("r", [-0.6, 0.0, 0.35])
def test_correlation_interval(kind, variance, r):
    for n in (5, 60):
        half = scipy.stats.norm.ppf(0.95) * math.sqrt(variance(r, n))
        close(ask("correlation_interval", r=r, n=n, kind=kind, confidence=0.9), [r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)])
    if kind == PEARSON:
        x = np.random.default_rng(1).normal(0, 1, (2, 30))
        found = scipy.stats.pearsonr(*x)
        close(ask("correlation_interval", r=found.statistic, n=30, kind=kind, confidence=0.95)[1:], found.confidence_interval(0.95))


@pytest.mark.parametrize("n,positives", [(9, 3), (10, 1), (12, 6)])
def test_point_biserial(n, positives):
    """The range by trying every labelling."""
    rng = np.random.default_rng(n)
    x = rng.gamma(1.0, 1.0, n)
    labels = rng.permutation([1] * positives + [0] * (n - positives))
    reference = scipy.stats.pointbiserialr(labels, x)
    every = [np.corrcoef(x, np.isin(np.arange(n), marked))[0, 1] for marked in itertools.combinations(range(n), positives)]
    close(ask("point_biserial", x=x, labels=labels), [reference.statistic, reference.pvalue, min(every), max(every)])


# -- pooling.h and regression.h ----------------------------------------------------------------------------------------


def pooled(reference):
    """Mean and standard error: Hartung and Knapp's where it is the larger one, else that of the weights. statsmodels goes on with a negative
    variance between families; ours is then 0, which is its fixed effect."""
    if reference.tau2 < 0:
        return reference.mean_effect_fe, max(reference.sd_eff_w_fe_hksj, reference.sd_eff_w_fe)
    return reference.mean_effect_re, max(reference.sd_eff_w_re_hksj, reference.sd_eff_w_re)


@pytest.mark.parametrize("spread", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("k", [2, 5, 30])
def test_random_effects(k, spread):
    rng = np.random.default_rng(k)
    variances = rng.uniform(0.05, 0.5, k)
    estimates = 0.3 + rng.normal(0, 1, k) * np.sqrt(variances + spread**2)
    ours = ask("random_effects", estimates=estimates, variances=variances, confidence=0.9)
    reference = combine_effects(estimates, variances, method_re="dl", use_t=True, alpha=0.1)
    mean, se = pooled(reference)
    close([ours["mean"][0], ours["tau_squared"], ours["q"], ours["i_squared"]], [mean, max(0, reference.tau2), reference.q, max(0, reference.i2)], tiny=1e-15)
    close(ours["p_same"], scipy.stats.chi2.sf(reference.q, k - 1))
    close(ours["se"], se)
    close(np.subtract(ours["mean"][2], ours["mean"][0]), scipy.stats.t.ppf(0.95, k - 1) * se)
    close(ours["p"], 2 * scipy.stats.t.sf(abs(mean) / se, k - 1))


def test_pool_correlations():
    families = [[0.5, 40], [0.3, 90], [0.7, 25], [0.1, 3]]
    ours = ask("pool_correlations", families=families, kind=SPEARMAN, confidence=0.95)
    r, n = np.array(families[:3]).T
    reference = combine_effects(np.arctanh(r), (1 + r**2 / 2) / (n - 3), method_re="dl", use_t=True)
    mean, se = pooled(reference)
    half = scipy.stats.t.ppf(0.975, 2) * se
    close(ours["r"], np.tanh([mean, mean - half, mean + half]))
    assert ours["n_pooled"] == 3


@pytest.mark.parametrize("n", [3, 20, 500])
def test_fit_line(n):
    rng = np.random.default_rng(n)
    x = rng.uniform(0, 1, n)
    y = 0.1 + 0.8 * x + rng.normal(0, 0.1, n)
    ours, reference = ask("fit_line", x=x, y=y, confidence=0.95), sm.OLS(y, sm.add_constant(x)).fit()
    close(ours["slope"], [reference.params[1], *reference.conf_int()[1]])
    close(ours["rest"], [reference.params[0], reference.bse[1], reference.pvalues[1], reference.t_test("x1 = 1").pvalue, reference.rsquared], rel=1e-8)


def logit_data(seed, n, columns):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (columns, n)) * np.array([1, 30, 0.02])[:columns, None] + np.array([5, -40, 0])[:columns, None]
    eta = ((x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) * np.array([1.2, -0.7, 0.1])[:columns, None]).sum(0) + 0.4
    return x, (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(int)


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("n", [60, 2000])
def test_fit_logistic(n, columns):
    """The ridge shifts a coefficient by some 1e-6 / (0.1 n) of itself and the intercept in proportion to what the centring moves: 1e-6."""
    x, labels = logit_data(n, n, columns)
    ours = ask("fit_logistic", columns=x, labels=labels)
    reference = sm.Logit(labels, sm.add_constant(x.T)).fit(disp=0, tol=1e-14, maxiter=200)
    assert ours["determined"]
    close([ours["intercept"], *ours["coefficients"]], reference.params, rel=1e-6, tiny=1e-6)
    close(ours["standard_errors"], reference.bse[1:], rel=1e-6)
    close(ours["log_likelihood"], reference.llf, rel=1e-9)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_partial_information(known):
    """Differences of two likelihoods of some hundreds: 1e-9 of those."""
    x, labels = logit_data(11, 500, known + 1)
    full, less = sm.Logit(labels, sm.add_constant(x.T)).fit(disp=0, tol=1e-14), sm.Logit(labels, sm.add_constant(x[:known].T) if known else np.ones(500)).fit(disp=0, tol=1e-14)
    chi_squared = 2 * (full.llf - less.llf)
    close(ask("partial_information", columns=x[:known], added=x[known], labels=labels), [chi_squared, scipy.stats.chi2.sf(chi_squared, 1), chi_squared / 1000], rel=1e-6)


def test_separated_labels_have_a_finite_answer():
    ours = ask("fit_logistic", columns=[np.arange(20.0)], labels=[0] * 10 + [1] * 10)
    # The ridge's best is a steep step: the likelihood of scipy's minimum of the same sum.
    z = (np.arange(20.0) - 9.5) / np.arange(20.0).std()
    cost = lambda b: np.logaddexp(0, -np.where(z > 0, b, -b) * z).sum() + 0.5e-6 * b * b  # noqa: E731
    slope = scipy.optimize.minimize_scalar(cost, bounds=(1, 1000), method="bounded", options={"xatol": 1e-9}).x
    assert not ours["determined"]
    close(ours["coefficients"][0], slope / np.arange(20.0).std(), rel=1e-5)
    close(ours["log_likelihood"], -np.logaddexp(0, -np.abs(slope * z)).sum(), rel=1e-3)


def test_pooled_logistic_slope():
    """Against statsmodels family by family, and one likelihood with a normal slope and a free intercept a family, integrated by
    Gauss-Hermite: the two ways agree within half a standard error at 200 items a family."""
    rng = np.random.default_rng(12)
    family = np.repeat(np.arange(8), 200)
    slopes = rng.normal(0.8, 0.4, 8)
    x = rng.normal(0, 1, family.size)
    labels = (rng.random(family.size) < 1 / (1 + np.exp(-(slopes[family] * x + 0.2 * family - 0.6)))).astype(int)
    ours = ask("pooled_logistic_slope", x=x, labels=labels, family=family, confidence=0.95)
    fits = [sm.Logit(labels[family == f], sm.add_constant(x[family == f])).fit(disp=0, tol=1e-14) for f in range(8)]
    close([[f[2], f[3]] for f in ours["families"]], [[f.params[1], f.bse[1]] for f in fits], rel=1e-6)
    reference = combine_effects(np.array([f.params[1] for f in fits]), np.array([f.bse[1] ** 2 for f in fits]), method_re="dl", use_t=True)
    close([ours["slope"]["mean"][0], ours["slope"]["tau_squared"]], [reference.mean_effect_re, reference.tau2], rel=1e-5)

    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    weights = weights / weights.sum()

    def minus_log_likelihood(parameters):
        mean, sd, intercepts = parameters[0], math.exp(parameters[1]), parameters[2:]
        total = 0.0
        for f in range(8):
            eta = intercepts[f] + np.outer(mean + sd * nodes, x[family == f])
            signed = np.where(labels[family == f], eta, -eta)
            total += scipy.special.logsumexp(-np.logaddexp(0, -signed).sum(1), b=weights)
        return -total

    found = scipy.optimize.minimize(minus_log_likelihood, [0.5, -1.0, *[0.0] * 8], method="BFGS")
    assert abs(found.x[0] - ours["slope"]["mean"][0]) < 0.5 * ours["slope"]["se"]
    assert abs(math.exp(found.x[1]) - math.sqrt(ours["slope"]["tau_squared"])) < 0.15  # maximum likelihood against moments, eight families


# -- simplex.h and share_counts.h --------------------------------------------------------------------------------------


def shares(seed, n, alpha=(12.0, 5.0, 3.0)):
    return np.random.default_rng(seed).dirichlet(alpha, n)


def reference_ilr(share):
    """SciPy's Helmert rows are this basis: the mean of the first parts against the next one."""
    return scipy.linalg.helmert(np.shape(share)[-1]) @ np.log(share).T


@pytest.mark.parametrize("alpha", [(3, 2), (12, 5, 3), (1, 1, 1, 1, 1, 1, 1)])
def test_ilr(alpha):
    a, b = shares(1, 2, alpha)
    close(ask("ilr", share=a, zero=1e-6), reference_ilr(a), tiny=1e-13)
    close(ask("ilr_inverse", coordinates=reference_ilr(b)), b)
    clr = np.log(a) - np.log(a).mean() - np.log(b) + np.log(b).mean()
    close(ask("aitchison_distance", a=a, b=b), np.linalg.norm(clr))


@pytest.mark.parametrize("n", [2, 20])
@pytest.mark.parametrize("alpha", [(3, 2), (12, 5, 3), (4, 3, 2, 1)])
def test_mean_share(n, alpha):
    """The delta method with a numeric gradient from ilr coordinates to log odds: 1e-6."""
    runs = shares(3, n, alpha)
    z = reference_ilr(runs).T
    back = lambda c: scipy.special.softmax(scipy.linalg.helmert(len(alpha)).T @ c)  # noqa: E731
    ours = ask("mean_share", runs=runs, confidence=0.9)
    centre = back(z.mean(0))
    covariance = np.atleast_2d(np.cov(z.T))
    close([s[0] for s in ours["shares"]], centre)
    close(ours["metric_variance"], np.trace(covariance))
    for j, (_, low, high) in enumerate(ours["shares"]):
        gradient = scipy.optimize.approx_fprime(z.mean(0), lambda c: scipy.special.logit(back(c)[j]), 1e-7)
        half = scipy.stats.t.ppf(0.95, n - 1) * math.sqrt(gradient @ covariance @ gradient / n)
        close([low, high], scipy.special.expit(scipy.special.logit(centre[j]) + np.array([-half, half])), rel=1e-5)


@pytest.mark.parametrize("alpha,point", [((12, 5, 3), (0.6, 0.25, 0.15)), ((12, 5, 3), (4 / 7, 2 / 7, 1 / 7)), ((4, 3, 2, 1), (0.25, 0.25, 0.25, 0.25)), ((3, 2), (0.5, 0.5))])
@pytest.mark.parametrize("n", [4, 20])
def test_hotelling(n, alpha, point):
    runs = shares(n, n, alpha)
    if len(point) == 2:  # one coordinate: Student's t, squared
        t = scipy.stats.ttest_1samp(reference_ilr(runs)[0], reference_ilr(np.array(point))[0])
        close(ask("hotelling_test", runs=runs, point=point), [t.statistic**2, t.statistic**2, 1, n - 1, t.pvalue], rel=1e-8)
        return
    reference = mvmean(reference_ilr(runs).T, reference_ilr(np.array(point)))
    close(ask("hotelling_test", runs=runs, point=point), [reference.t2, reference.statistic, *reference.df, reference.pvalue], rel=1e-8)


def test_share_equivalence():
    """Each p from statsmodels' t-tests at both bounds."""
    runs, target = shares(9, 20, (60, 25, 15)), np.array([0.6, 0.25, 0.15])
    expected = [sm.stats.DescrStatsW(runs[:, j]).ttost_mean(target[j] - 0.05, target[j] + 0.05)[0] for j in range(3)]
    close(ask("share_equivalence", runs=runs, target=target, margin=0.05, alpha=0.05), [max(expected), *expected])


@pytest.mark.parametrize("target", [(0.6, 0.25, 0.15), (0.97, 0.02, 0.01), (0.5, 0.5), (0.4, 0.3, 0.2, 0.1)])
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.4])
def test_chance_within(target, margin):
    """A million uniform shares: 4.5 standard errors."""
    drawn = shares(10, 1_000_000, (1,) * len(target))
    inside = (np.abs(drawn - target) <= margin).all(1).mean()
    ours = ask("chance_within", target=target, margin=margin)
    assert abs(ours - inside) < 4.5 * math.sqrt(max(ours, 1e-6) / 1e6)


@pytest.mark.parametrize("counts", [(620, 230, 150), (6, 3, 1), (0, 7, 3)])
def test_g_test(counts):
    share = np.array([0.6, 0.25, 0.15])
    g, degrees, p, w = ask("g_test", counts=counts, share=share)
    reference = scipy.stats.power_divergence(counts, share * sum(counts), lambda_="log-likelihood")
    close([g, degrees, p], [reference.statistic, 2, reference.pvalue])
    close(w, math.sqrt(scipy.stats.chisquare(counts, share * sum(counts)).statistic / sum(counts)))


@pytest.mark.parametrize("concentration", [8.0, 100.0, None])
def test_overdispersion(concentration):
    """The test is SciPy's of a contingency table. Moments and maximum likelihood are two estimators: with 40 runs of 500 items their
    concentrations agree to 25 %."""
    rng = np.random.default_rng(13)
    share = np.array([0.6, 0.25, 0.15])
    p = rng.dirichlet(share * concentration, 40) if concentration else np.tile(share, (40, 1))
    runs = np.array([rng.multinomial(500, row) for row in p])
    ours = ask("overdispersion", runs=runs)
    rho, found, chi_squared, degrees, p_value = ours["rest"]
    reference = scipy.stats.chi2_contingency(runs, correction=False)
    close([chi_squared, degrees], [reference.statistic, reference.dof])
    close(p_value, reference.pvalue, rel=1e-8, tiny=1e-250)
    close(ours["mean"], runs.sum(0) / runs.sum())
    if not concentration:
        assert rho < 0.002 and p_value > 0.001
        return
    assert p_value < 1e-6
    close(rho, 1 / (found + 1))
    minus_log_likelihood = lambda logs: -scipy.stats.dirichlet_multinomial.logpmf(runs, np.exp(logs), 500).sum()  # noqa: E731
    likeliest = np.exp(scipy.optimize.minimize(minus_log_likelihood, np.log(share * 20), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4000}).x).sum()
    close(found, likeliest, rel=0.25)
