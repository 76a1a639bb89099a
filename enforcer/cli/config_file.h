#pragma once
// The agent's configuration file: YAML, one map whose keys are the long options of the command.
#include <CLI/CLI.hpp>
#include <istream>
#include <string>
#include <utility>
#include <vector>

namespace podfence::cli {

class YamlConfig : public CLI::Config {
 public:
  /// The keys are options of this command.
  explicit YamlConfig(std::string command) : command_(std::move(command)) {}

  /// Not offered: a configuration is written by hand.
  std::string to_config(const CLI::App*, bool, bool, std::string) const override { return {}; }
  /// Throws CLI::ConfigError with what is wrong and where; a key that is no option is an error of CLI11 itself.
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  std::string command_;
};

}  // namespace podfence::cli
