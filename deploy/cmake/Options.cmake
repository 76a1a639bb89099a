# Compiler settings that every target of the project shares: podfence_options.
add_library(podfence_options INTERFACE)
target_include_directories(podfence_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(podfence_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wcast-align
  $<$<BOOL:${PODFENCE_WERROR}>:-Werror>
  $<$<CONFIG:Debug>:-O1 -g1 -fno-omit-frame-pointer>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside the standard library when it inlines std::variant and std::string; they are false.
  target_compile_options(podfence_options INTERFACE -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow
    -Wno-stringop-overread -Wno-array-bounds)
endif()

if(PODFENCE_SANITIZE)
  target_compile_options(podfence_options INTERFACE -fsanitize=${PODFENCE_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(podfence_options INTERFACE -fsanitize=${PODFENCE_SANITIZE})
endif()
if(PODFENCE_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(podfence_options INTERFACE -Wno-tsan) # fences of Boost.Asio, which are not followed
endif()
if(PODFENCE_FUZZ)
  target_compile_options(podfence_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PODFENCE_COVERAGE)
  target_compile_options(podfence_options INTERFACE --coverage -O0)
  target_link_options(podfence_options INTERFACE --coverage)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(podfence_options INTERFACE -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE)
  target_link_options(podfence_options INTERFACE -pie -Wl,-z,relro,-z,now)
endif()

find_program(PODFENCE_CCACHE ccache)
if(PODFENCE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PODFENCE_CCACHE})
endif()
