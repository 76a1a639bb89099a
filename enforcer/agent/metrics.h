#pragma once
// What /metrics shows. Denied packets come from the kernel's counters, over all tables since the account began, so that
// they are right also where records were lost. No pod names in labels.
#include <string>

#include "enforcer/agent/status.h"
#include "enforcer/flow/pipeline.h"

namespace podfence::agent {

struct MetricsInputs {
  const StatusInputs& status;
  const flow::PipelineStats& flows;
};

std::string metrics_text(const MetricsInputs& in);

}  // namespace podfence::agent
