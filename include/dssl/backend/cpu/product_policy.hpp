// What the Cpu backend asks of the policy that computes its matrix products.
#pragma once

#include <concepts>
#include <string>

#include <dssl/backend/cpu/matrix_product.hpp>
#include <dssl/backend/cpu/options.hpp>
#include <dssl/backend/cpu/workers.hpp>

namespace dssl {

/// Made from the backend's options; throws `OptionError` for a precision that it does not have.
template <class P>
concept MadeFromCpuOptions = std::constructible_from<P, const CpuOptions&> && std::copy_constructible<P>;

/// Computes products in this number format on the backend's threads, in its scratch.
template <class P, class T>
concept MultipliesIn = requires(const P& products, cpu::Workers& workers,
                                const cpu::MatrixProduct<T>& product) {
  products.multiply(workers, product);
};

/// Says what computes the products, as the end of a sentence: empty, or from a comma on.
template <class P>
concept DescribesProducts = requires(const P& products) {
  { products.describe() } -> std::convertible_to<std::string>;
};

/// How the Cpu backend multiplies matrices: the second parameter of `BasicCpu`, one object a backend, shared
/// out among its copies, in one call at a time.
///
/// Results must not depend on the number of threads: cut the work by shapes alone, and where a library has
/// threads of its own, hold it to one inside a task. The smallest policy is in docs/policies.md;
/// `OwnProducts` is the one that every user has. Tests: tests/backend/product_cases.hpp holds any policy to the
/// oracle.
template <class P, class T>
concept ProductPolicy = MadeFromCpuOptions<P> && MultipliesIn<P, T> && DescribesProducts<P>;

}  // namespace dssl
