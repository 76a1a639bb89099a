#pragma once
// Look-ups in the sets of a Program as the kernel does them, by binary search: the elements are sorted, and those of an
// interval set do not overlap.
#include <optional>

#include "policy/program/program.h"

namespace podfence::program {

/// Is there an element for this address: isolated, self, known, or a range of managed?
bool has_address(const Program& program, SetId set, const net::IpAddr& ip);

/// The data of a class map, for an address.
std::optional<ClassId> class_of(const Program& program, SetId set, const net::IpAddr& ip);

/// Is the tuple in a class_* or all_* set? Fields that the set's key lacks are ignored.
bool has_tuple(const Program& program, SetId set, ClassId class_id, const net::IpAddr& local, net::Protocol protocol,
               net::Port port);

}  // namespace podfence::program
