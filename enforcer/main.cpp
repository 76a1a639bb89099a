#include "enforcer/cli/cli.h"

int main(int argc, char** argv) {
  return podfence::cli::run(argc, argv);
}
