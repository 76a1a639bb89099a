#include "enforcer/agent/version.h"

namespace podfence::agent {

const char* const version = PODFENCE_VERSION;

}  // namespace podfence::agent
