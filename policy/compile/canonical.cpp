#include <algorithm>
#include <map>
#include <tuple>

#include "policy/compile/compile.h"

namespace podfence::compile {
namespace {

using program::ClassId;
using program::SetId;
using program::Shape;

/// Old number -> new number, in the order of the first address; a range goes before an address that it starts with.
std::map<ClassId, ClassId> numbers_by_first_address(const program::Program& program, net::Direction direction) {
  std::vector<std::tuple<net::IpAddr, Shape, ClassId>> carriers;
  for (const net::Family family : net::families) {
    for (const Shape shape : {Shape::cidr_class, Shape::peer_class}) {
      for (const auto& e : program.at({shape, direction, family})) carriers.emplace_back(e.address, shape, e.class_id);
    }
  }
  std::sort(carriers.begin(), carriers.end());
  std::map<ClassId, ClassId> numbers;
  const auto number = [&](ClassId old) {
    if (old != program::no_class) numbers.emplace(old, program::first_class + static_cast<ClassId>(numbers.size()));
  };
  for (const auto& carrier : carriers) number(std::get<ClassId>(carrier));
  // Classes that no address carries come last, in the order that they had.
  std::vector<ClassId> others;
  for (const net::Family family : net::families) {
    for (const Shape shape : {Shape::class_port, Shape::class_range, Shape::class_protocol, Shape::class_any}) {
      for (const auto& element : program.at({shape, direction, family})) others.push_back(element.class_id);
    }
  }
  std::sort(others.begin(), others.end());
  for (const ClassId other : others) number(other);
  return numbers;
}

}  // namespace

program::Program canonical(program::Program program) {
  for (const net::Direction direction : net::directions) {
    const auto numbers = numbers_by_first_address(program, direction);
    for (std::size_t index = 0; index < program::set_count; ++index) {
      const SetId set = program::set_at(index);
      if (set.direction != direction || !program::names_class(set.shape)) continue;
      auto& elements = program.sets[index];
      for (auto& element : elements) {
        if (element.class_id != program::no_class) element.class_id = numbers.at(element.class_id);
      }
      std::sort(elements.begin(), elements.end());
    }
  }
  return program;
}

}  // namespace podfence::compile
