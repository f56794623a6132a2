# SPDX-License-Identifier: BSD-3-Clause
# muse_flags: what every file of ours is compiled with. Generated code and other people's headers are not.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

# Debug builds run the tests, so they may be a little faster than -O0, and warn as an optimizing build does.
set(CMAKE_C_FLAGS_DEBUG "-g -Og")

add_library(muse_flags INTERFACE)
# The generated protobuf-c headers are found as "proto/NAME.pb-c.h", everything else from the root. The
# generated ones come as SYSTEM from muse_proto_gen.
target_include_directories(muse_flags INTERFACE ${CMAKE_SOURCE_DIR})
# Empty, so that a file may say "#define _GNU_SOURCE" itself and also compile alone.
target_compile_definitions(muse_flags INTERFACE _GNU_SOURCE= MUSE_VERSION="${PROJECT_VERSION}")
target_link_libraries(muse_flags INTERFACE Threads::Threads)

target_compile_options(muse_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual
  -Wwrite-strings -Wvla -Wswitch-enum -Wundef -Wformat=2 -Wimplicit-fallthrough -fno-common)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(muse_flags INTERFACE
    -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init)
endif()
if(MUSE_WERROR)
  target_compile_options(muse_flags INTERFACE -Werror)
endif()

# Sanitizers and coverage concern generated code, too: global options.
if(MUSE_SANITIZE)
  list(JOIN MUSE_SANITIZE "," sanitizers)
  add_compile_options(-fsanitize=${sanitizers} -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=${sanitizers})
  # gcc's manual: sanitizers make -Wmaybe-uninitialized warn about what is initialized.
  target_compile_options(muse_flags INTERFACE $<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  if("undefined" IN_LIST MUSE_SANITIZE)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
else()
  # With a sanitizer the libraries leave its symbols undefined, so they can only be checked without.
  add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,SHARED_LIBRARY>:-Wl,-z,defs>)
endif()
if(MUSE_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "MUSE_FUZZ needs clang: use the preset \"fuzz\"")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
  add_compile_definitions(FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION)
endif()
