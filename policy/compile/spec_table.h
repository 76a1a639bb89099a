#pragma once
// The peers of one direction that relevant policies name: each once, counted. Changes are collected until they are
// taken, so that a policy which is replaced by its like changes nothing.
#include <map>
#include <vector>

#include "policy/compile/signature.h"
#include "policy/model/peer_spec.h"

namespace podfence::compile {

class SpecTable {
 public:
  SpecId acquire(const model::PeerSpec& spec);
  void release(SpecId id);

  struct Delta {
    std::vector<SpecId> added;    // sorted
    std::vector<SpecId> removed;  // sorted; their specs can still be asked for until forget()
    bool empty() const { return added.empty() && removed.empty(); }
    bool has_blocks() const;
  };
  Delta take_delta();
  /// After the removed ones have left every signature: their ids may be given again.
  void forget(const Delta& delta);

  const model::PeerSpec& at(SpecId id) const { return *entry(id).spec; }
  std::size_t size() const { return ids_.size(); }

 private:
  struct Entry {
    const model::PeerSpec* spec = nullptr;  // in ids_
    std::uint32_t uses = 0;
    bool told = false;  // was in a delta as added
    bool touched = false;
  };
  struct Pool {
    std::vector<Entry> entries;
    std::vector<SpecId> free;
  };
  Pool& pool_of(SpecId id) { return is_block(id) ? blocks_ : pods_; }
  const Entry& entry(SpecId id) const { return (is_block(id) ? blocks_ : pods_).entries[id & ~block_bit]; }
  Entry& entry(SpecId id) { return pool_of(id).entries[id & ~block_bit]; }
  void touch(SpecId id);
  void drop(SpecId id);

  std::map<model::PeerSpec, SpecId> ids_;
  Pool pods_;
  Pool blocks_;
  std::vector<SpecId> touched_;
};

}  // namespace podfence::compile
