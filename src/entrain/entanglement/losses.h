#pragma once
// The side losses. Notation: v_i projected state, z_i = v_i / |v_i|, s_ij = z_i.z_j / tau, A the operator of positives, M = A z,
// P_ij = e^(s_ij) / sum_{k != i} e^(s_ik) over i's group, n positions in a group (on all ranks for scope `batch`).

#include <cstdint>
#include <span>

#include "entrain/base/tensor.h"
#include "entrain/entanglement/config.h"
#include "entrain/entanglement/context.h"
#include "entrain/entanglement/positives.h"

namespace entrain::entanglement {

/// The loss config.loss names, a scalar in nats where it has a unit. v: (B, T, d) float32 or float64, not normalised; differentiable in v.
/// Means over positions with positives weigh them by positives.row_weights(). 0 where a group has fewer than two positions.
/// Over ranks: the same value everywhere, gradients as ranks.h says.
///
/// Over pairs, in config.scope:
/// - `infonce`: mean_i [ log sum_{j != i} e^(s_ij) - (1 - a) z_i.M_i / tau - a / (n - 1) sum_{j != i} s_ij ] over positions with positives, a =
///   smoothing: cross-entropy of P with the target (1 - a) A + a / (n - 1) (InfoNCE, arXiv 1807.03748, equation 4, with label smoothing,
///   arXiv 1512.00567, section 7; several positives as arXiv 2004.11362, equation 2). With `fft` the candidates are weighted in the first term.
/// - `literal`: mean_i KL(uniform || P_i) over all positions, infonce for a = 1 less log(n - 1): the announced loss. Its minimum is collapse.
/// - `align_uniform`: E + b U, E = mean over positives |z_i - z_j|^2, U = log mean_{i != j} e^(-t |z_i - z_j|^2), t = 1 / (2 tau), b =
///   uniformity_weight (Wang & Isola, arXiv 2005.10242, section 4.1, alpha = 2).
/// - `entropy_floor`: E + b mean_i max(0, eta log(n - 1) - H(P_i)), eta = entropy_share: the floor alone has no content, so the alignment E carries it.
///   Always exact.
/// - `simctg`: mean_{i != j} max(0, cos_ij - (1 - margin)) (Su et al., arXiv 2202.06417, equation 2). No positives. Always exact.
/// - `contraclm`: infonce with a = 0 between two dropout views, whose candidates are all other tokens of the row in both views (Jain et
///   al., arXiv 2210.01185, section 3), at config.temperature (theirs is 0.05).
///
/// Over moments of all positions, whatever the scope, O(n) in time; E is taken of the vectors named:
/// - `ecf`: E + b mean_f |mean_i e^(i w_f.x_i) - e^(-|w_f|^2 / (2 d))|^2 of x = v / sqrt(d): the squared MMD with N(0, I / d) under a Gaussian
///   kernel of bandwidth sqrt(tau).
/// - `sigreg`: E + b mean over random unit directions a of the Epps-Pulley statistic int |ECF_a(t) - e^(-t^2 / 2)|^2 e^(-t^2 / 2) dt of v.a against N(0, 1)
///   (Balestriero & LeCun, arXiv 2511.08544), E of v / sqrt(d). Not multiplied by n; trapezoids at steps of 1/2 on [-4, 4].
/// - `hsic`: -HSIC(z, A) + g sqrt(HSIC(z, z)), g = hsic_weight (SSL-HSIC, Li et al., arXiv 2106.08320, section 3), by random features phi of
///   bandwidth sqrt(tau): HSIC(z, A) = n^2/(n - 1)^2 mean_i phi_i.(A phi)_i over positions with positives, phi centred: the kernel n A, whose scale does not fall with n;
///   HSIC(z, z) = |Phi^T Phi|_F^2 / (n - 1)^2.
/// - `cosreg`: 1/n^2 sum_{i != j} z_i.z_j (Gao et al., arXiv 1907.12009). No positives.
/// - `decov`: 1/2 sum_{a != b} R_ab^2 (Cogswell et al., arXiv 1511.06068, equation 2), of the correlations R of v's coordinates instead of their
///   covariances, which shrinking the projection would zero. No positives.
/// - `barlow`: sum_a (1 - C_aa)^2 + l sum_{a != b} C_ab^2, C the correlations of v and A v over positions with positives, l = off_diagonal_weight
///   (Zbontar et al., arXiv 2103.03230, equation 1).
/// - `vicreg`: c_1 mean |v - A v|^2 / d + c_2 [V(v) + V(A v)] + c_3 [C(v) + C(A v)] over positions with positives; V = 1/d sum_a max(0, 1 - sqrt(var_a +
///   1e-4)), C = 1/d sum_{a != b} cov_ab^2 (Bardes et al., arXiv 2105.04906, section 4.1; their code means over coordinates as here; c = vicreg_invariance, _variance, _covariance).
/// - `total_correlation`: -1/2 log det R', of Gaussians with the correlations R' = 0.99 R + 0.01 I of v, shrunk so that n < d is defined
///   (Watanabe 1960). No positives.
/// - `attribute_hsic`: attribute_weight |Cov(phi(z), onehot(attribute))|_F^2 over positions with context.attribute >= 0, the HSIC of a Gaussian
///   kernel and equality (Gretton et al., ALT 2005), plus `decov`. No positives.
Tensor loss(const Tensor& v, const Config& config, const Context& context, const Positives& positives);

/// The lowest value loss() can take where that is known without the data, -infinity elsewhere.
double loss_floor(const Config& config, const Context& context);

/// E: mean over positions with positives of sum_j A_ij |x_i - x_j|^2. x: (n, d).
Tensor alignment(const Tensor& x, const Context& context, const Positives& positives);

/// Mean of (n) rows with (n) weights, over all ranks; 0 where all weights are 0.
Tensor weighted_mean(const Tensor& rows, const Tensor& weights, Communicator* ranks);

/// v / |v|, of 0 is 0.
Tensor unit_vectors(const Tensor& v);

/// The soft nearest neighbour loss (Frosst, Papernot & Hinton, arXiv 1902.01889, equation 1), the lowest over `temperatures`: low where equal labels
/// are near, high where they are entangled. z: (n, d), labels: (n) int64. Over positions whose label occurs again; 0 without any.
/// O(n^2) memory, no gradient.
double soft_nearest_neighbour(const Tensor& z, const Tensor& labels, std::span<const double> temperatures);

/// Points t > 0 of `sigreg`'s integral.
constexpr int64_t kSlicePoints = 8;

}  // namespace entrain::entanglement
