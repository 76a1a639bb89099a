#pragma once

namespace podfence {

/// For std::visit: one lambda for each alternative, so that a new alternative is a compile error until handled.
template <class... F>
struct overloaded : F... {
  using F::operator()...;
};
template <class... F>
overloaded(F...) -> overloaded<F...>;

}  // namespace podfence
