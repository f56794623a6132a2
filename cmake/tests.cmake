# SPDX-License-Identifier: BSD-3-Clause
# Tests by folder and name; a new file is a new test.
#
#     tests/unit/test_NAME.c          label unit          one module, no process, no socket to anybody
#     tests/model/model_NAME.c        label model         random operations against a naive model
#     tests/integration/it_NAME.c     label integration   starts the programs of this build
#     tests/differential/             label differential  one program, and scripts that run it
#     tests/preload/NAME.sh           label integration   runs programs under muse-run; NAME.c is one of them
#     tests/fuzz/fuzz_NAME.c          (MUSE_FUZZ only)    libFuzzer harness, run by scripts/fuzz
#
# Exit code 77 is "skipped": the test says which feature is missing.

set(tests_dir ${CMAKE_SOURCE_DIR}/tests)
set(tests_bin ${CMAKE_BINARY_DIR}/tests)

# muse_test_needs(FILE RET_LINKS): what a test links follows from what it includes.
function(muse_test_needs file ret_links)
  set(links)
  set_property(DIRECTORY ${CMAKE_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(STRINGS ${file} includes REGEX "^#include ")
  set(server_io ${includes})
  list(FILTER server_io INCLUDE REGEX "\"server/")
  list(FILTER server_io EXCLUDE REGEX "\"server/(cache|fault|map|quota|vm)/")
  if(server_io)
    list(APPEND links muse_server)
  endif()
  if(includes MATCHES "<muse/muse\\.h>|\"client-lib/" AND TARGET muse)
    list(APPEND links muse-static)
  endif()
  if(includes MATCHES "\"drivers/([a-z0-9_-]+)/")
    set(parts muse-${CMAKE_MATCH_1}-parts)
    if(CMAKE_MATCH_1 STREQUAL "common")
      set(parts muse-driver-common)
    endif()
    if(TARGET ${parts})
      list(APPEND links ${parts})
    endif()
  endif()
  if(includes MATCHES "<muse/driver\\.h>|\"drivers/" AND TARGET muse-driver)
    list(APPEND links muse-driver-static)
  endif()
  if(includes MATCHES "<muse/check\\.h>")
    list(APPEND links muse-check)
  endif()
  if(includes MATCHES "\"examples/relay_buffer\\.h\"")
    list(APPEND links muse_relay_buffer)
  endif()
  set(${ret_links} ${links} PARENT_SCOPE)
endfunction()

# muse_test(FILE LABEL LINKS...)
function(muse_test file label)
  cmake_path(GET file STEM target)
  string(REGEX MATCH "_(.*)$" rest ${target})
  set(name ${CMAKE_MATCH_1})
  muse_test_needs(${file} links)
  if(label STREQUAL "integration") # as a user's program would: the shared library
    list(TRANSFORM links REPLACE "-static$" "")
  endif()
  add_executable(${target} ${file})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${tests_bin})
  target_link_libraries(${target} PRIVATE muse_flags ${links} ${ARGN} muse_mark_point PkgConfig::CHECK)
  add_test(NAME ${label}/${name} COMMAND ${target})
  set(timeout_s 120)
  if(label STREQUAL "integration") # under ThreadSanitizer on a busy machine
    set(timeout_s 400)
  endif()
  # What ThreadSanitizer is run on: tests with threads of their own, and of drivers that have some.
  set(labels ${label})
  file(STRINGS ${file} threads REGEX "pthread_create")
  if(label STREQUAL "integration" AND (threads OR name IN_LIST tests_of_threads))
    list(APPEND labels threads)
  endif()
  set_tests_properties(${label}/${name} PROPERTIES
    LABELS "${labels}" TIMEOUT ${timeout_s} SKIP_RETURN_CODE 77 ENVIRONMENT "MUSE_BUILD_DIR=${CMAKE_BINARY_DIR}")
  file(STRINGS ${file} huge REGEX "support/huge_pages\\.h")
  if(huge) # one of them takes all that there are
    set_tests_properties(${label}/${name} PROPERTIES RESOURCE_LOCK huge_pages)
  endif()
endfunction()

set(tests_of_threads bar check cramfs kcov nbd populate recover relay vmops)
file(GLOB unit_files CONFIGURE_DEPENDS ${tests_dir}/unit/test_*.c)
file(GLOB model_files CONFIGURE_DEPENDS ${tests_dir}/model/model_*.c)
file(GLOB it_files CONFIGURE_DEPENDS ${tests_dir}/integration/it_*.c)
file(GLOB fuzz_files CONFIGURE_DEPENDS ${tests_dir}/fuzz/fuzz_*.c)

add_library(muse_mark_point OBJECT ${tests_dir}/support/mark_point.c)
target_link_libraries(muse_mark_point PRIVATE muse_flags PkgConfig::CHECK INTERFACE -Wl,--wrap=_mark_point)

muse_glob(support_sources tests/support)
list(REMOVE_ITEM support_sources ${tests_dir}/support/mark_point.c)
muse_static(muse_test_support SOURCES ${support_sources} LINKS muse muse_control muse_ipc muse_base PkgConfig::CHECK PkgConfig::JANSSON)

foreach(file IN LISTS unit_files)
  muse_test(${file} unit muse_pure muse_ipc muse_base)
endforeach()
foreach(file IN LISTS model_files)
  muse_test(${file} model muse_pure muse_ipc muse_base)
endforeach()
# docs/model, checked by spin: it includes the table that map_table_pml prints. The code is in it only as that table.
if(NOT MUSE_SANITIZE)
  add_executable(map_table_pml ${tests_dir}/model/map_table_pml.c)
  set_target_properties(map_table_pml PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${tests_bin})
  target_link_libraries(map_table_pml PRIVATE muse_flags muse_pure muse_base)
  add_test(NAME model/spin COMMAND ${tests_dir}/model/spin.sh $<TARGET_FILE:map_table_pml>)
  set_tests_properties(model/spin PROPERTIES LABELS model TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
if(TARGET muse)
  foreach(file IN LISTS it_files)
    muse_test(${file} integration muse_test_support muse muse_ipc muse_base)
  endforeach()
endif()

# What the conformance kit has to find; drivers that decide by the size of a mapping.
if(TARGET muse-driver)
  add_executable(kit_broken ${tests_dir}/kit/broken.c)
  set_target_properties(kit_broken PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${tests_bin})
  target_link_libraries(kit_broken PRIVATE muse_flags muse-driver muse_base)
  add_executable(sdk_size_driver ${tests_dir}/sdk/size_driver.c)
  set_target_properties(sdk_size_driver PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${tests_bin})
  target_link_libraries(sdk_size_driver PRIVATE muse_flags muse-driver muse_base)
endif()

# Muse against the kernel: random scripts of one process, then of several; scripts that failed once; and mistakes
# that have to be found. The seed is the clock's, and printed.
# Sanitizers make each step ten times as long.
if(TARGET muse)
  muse_glob(differential_sources tests/differential)
  add_executable(differential ${differential_sources})
  set_target_properties(differential PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${tests_bin})
  target_link_libraries(differential PRIVATE muse_flags muse_test_support muse muse_ipc muse_base PkgConfig::CHECK)
  target_link_options(differential PRIVATE -Wl,--wrap=_ck_assert_failed -Wl,--wrap=_mark_point)
  set(differential_steps 120000)
  if(MUSE_SANITIZE)
    set(differential_steps 10000)
  endif()
  add_test(NAME differential/one COMMAND differential --processes 1 --steps ${differential_steps})
  add_test(NAME differential/many COMMAND differential --processes 4 --steps ${differential_steps})
  file(GLOB differential_scripts CONFIGURE_DEPENDS ${tests_dir}/differential/scripts/*.script)
  foreach(script IN LISTS differential_scripts)
    list(APPEND differential_arguments --script ${script})
  endforeach()
  add_test(NAME differential/scripts COMMAND differential --no-shrink ${differential_arguments})
  set(differential_tests differential/one differential/many differential/scripts)
  if(NOT MUSE_SANITIZE) # hundreds of servers are started
    add_test(NAME differential/mistakes COMMAND ${tests_dir}/differential/mistakes.sh)
    list(APPEND differential_tests differential/mistakes)
  endif()
  set_tests_properties(${differential_tests} PROPERTIES
    LABELS differential TIMEOUT 400 ENVIRONMENT "MUSE_BUILD_DIR=${CMAKE_BINARY_DIR}")
endif()

# Programs that know nothing of Muse: preload_NAME, from tests/preload/NAME.c. With a sanitizer they would want its
# library to be the first that is preloaded.
if(TARGET muse-preload AND NOT MUSE_SANITIZE)
  file(GLOB preload_programs CONFIGURE_DEPENDS ${tests_dir}/preload/*.c)
  file(GLOB preload_scripts CONFIGURE_DEPENDS ${tests_dir}/preload/*.sh)
  list(REMOVE_ITEM preload_scripts ${tests_dir}/preload/lib.sh)
  foreach(file IN LISTS preload_programs)
    cmake_path(GET file STEM name)
    add_executable(preload_${name} ${file})
    set_target_properties(preload_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${tests_bin})
    target_link_libraries(preload_${name} PRIVATE muse_flags)
  endforeach()
  foreach(file IN LISTS preload_scripts)
    cmake_path(GET file STEM name)
    add_test(NAME integration/preload_${name} COMMAND ${file})
    set_tests_properties(integration/preload_${name} PROPERTIES
      LABELS integration TIMEOUT 120 SKIP_RETURN_CODE 77 ENVIRONMENT "MUSE_BUILD_DIR=${CMAKE_BINARY_DIR}")
  endforeach()
endif()

if(MUSE_FUZZ)
  add_custom_target(muse_fuzzers)
  foreach(file IN LISTS fuzz_files)
    cmake_path(GET file STEM target)
    muse_test_needs(${file} links)
    add_executable(${target} ${file})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    add_dependencies(muse_fuzzers ${target})
    target_link_libraries(${target} PRIVATE muse_flags ${links} muse_pure muse_ipc muse_base)
  endforeach()
endif()
